import { z } from 'zod';
import { InputError } from '../errors.ts';
import { canonicalTimeZone } from '../time.ts';
import { MAX_URL_LENGTH, parseUrlTemplate } from './macros.ts';

/**
 * Routing of a link: rules that are tried in order, and weighted destinations. The ledger checks it when a link is
 * saved and the collectors compile it, both with this one definition.
 */

/** Each is tried for every click; a link with more of them needs a program, not rules. */
const MAX_RULES = 50;
/** Variants of one test. */
const MAX_DESTINATIONS = 20;
/** Fine enough for a tenth of a percent. */
export const MAX_WEIGHT = 1_000;
/** All ISO 3166 countries fit. */
const MAX_CONDITION_VALUES = 250;
/** A collector keeps the routing of every link in memory, as this text. */
export const MAX_ROUTING_LENGTH = 32_768;

/** The values of the `device` column. */
export const DEVICES = ['desktop', 'mobile', 'tablet', 'tv', 'bot', 'unknown'] as const;
export const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

const MINUTES_PER_HOUR = 60;

/** "HH:MM", also "24:00", as minutes since midnight. */
export function minutesOfDay(text: string): number {
  const [hours, minutes] = text.split(':').map(Number);
  return (hours ?? 0) * MINUTES_PER_HOUR + (minutes ?? 0);
}

const timeZone = z
  .string()
  .max(64)
  .refine(
    (name) => canonicalTimeZone(name) !== undefined,
    'must be an IANA time zone such as "Europe/Vienna"',
  )
  .overwrite((name) => canonicalTimeZone(name) ?? name);

function values<T extends z.ZodType<string, string>>(value: T) {
  return z
    .array(value)
    .min(1, 'must not be empty; leave it out instead')
    .max(MAX_CONDITION_VALUES, `must not have more than ${MAX_CONDITION_VALUES} values`);
}

const templateUrl = z
  .string()
  .max(MAX_URL_LENGTH, { error: `must not exceed ${MAX_URL_LENGTH} characters`, abort: true })
  .superRefine((url, context) => {
    try {
      parseUrlTemplate(url, 'url');
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      context.addIssue({ code: 'custom', message: error.reason });
    }
  });

const destinations = z
  .array(
    z.strictObject({
      url: templateUrl,
      weight: z
        .int()
        .min(1, `must be a whole number from 1 to ${MAX_WEIGHT}`)
        .max(MAX_WEIGHT, `must be a whole number from 1 to ${MAX_WEIGHT}`),
    }),
  )
  .min(1, 'must not be empty')
  .max(MAX_DESTINATIONS, `must not have more than ${MAX_DESTINATIONS} destinations`);

const clockTime = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time such as "09:30"');

const schedule = z
  .strictObject({
    timezone: timeZone,
    days: z.array(z.enum(WEEKDAYS)).min(1, 'must not be empty').max(WEEKDAYS.length),
    from: clockTime,
    to: clockTime.or(z.literal('24:00')),
  })
  .refine(({ from, to }) => from !== to, {
    path: ['to'],
    error: 'must differ from "from"; the whole day is "00:00" to "24:00"',
  });

const condition = z
  .strictObject({
    countries: values(
      z.string().regex(/^[A-Z]{2}$/, 'must be an ISO 3166 code in capitals such as "AT"'),
    ).exactOptional(),
    devices: values(z.enum(DEVICES)).exactOptional(),
    os: values(z.string().min(1).max(64)).exactOptional(),
    languages: values(
      z
        .string()
        .max(16)
        .regex(/^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$/, 'must be a language tag such as "de" or "de-AT"'),
    ).exactOptional(),
    schedule: schedule.exactOptional(),
  })
  .refine(
    (when) => Object.keys(when).length > 0,
    'must have a condition; a destination for every click belongs in destinations',
  );

/** The schema of {@link Routing}, for the API's description and bodies. */
export const routingSchema = z
  .strictObject({
    rules: z
      .array(z.strictObject({ when: condition, destinations }))
      .max(MAX_RULES, `must not have more than ${MAX_RULES} rules`),
    destinations: destinations.exactOptional(),
  })
  .refine((routing) => routing.rules.length > 0 || routing.destinations !== undefined, {
    error: 'must have rules or destinations',
  })
  .refine((routing) => JSON.stringify(routing).length <= MAX_ROUTING_LENGTH, {
    error: `must not exceed ${MAX_ROUTING_LENGTH} characters`,
  })
  .meta({
    id: 'Routing',
    description:
      'The first rule whose conditions all hold decides; without one the destinations, or landing_url. See docs/links.md.',
  });

export type Routing = z.output<typeof routingSchema>;
export type RoutingRule = Routing['rules'][number];
export type RoutingCondition = RoutingRule['when'];
export type RoutingSchedule = NonNullable<RoutingCondition['schedule']>;
export type WeightedDestination = RoutingRule['destinations'][number];

/**
 * Checks a link's routing.
 * @throws InputError naming the first faulty place, such as `routing.rules.0.destinations.1.url`.
 */
export function parseRouting(value: unknown, field: string): Routing {
  const result = routingSchema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const extra = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [];
  const message = extra.length > 0 ? 'is not known here' : (issue?.message ?? 'is not valid');
  throw new InputError([field, ...(issue?.path ?? []), ...extra].map(String).join('.'), message);
}
