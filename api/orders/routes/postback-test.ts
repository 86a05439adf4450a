import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { InputError } from '../../../core/errors.ts';
import { DAY_MS } from '../../../core/time.ts';
import { findConversionByOrder } from '../../../ledger/conversions/conversions.ts';
import { type FoundCoupon, findCoupons } from '../../../ledger/programs/coupons.ts';
import { DEFAULT_EVENT } from '../../../ledger/programs/events.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { termsInForce } from '../../../ledger/programs/terms.ts';
import { lookupClicks } from '../../../warehouse/lookups/lookups.ts';
import { readWatermark } from '../../../warehouse/watermark/watermark.ts';
import type { ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { faultsIn } from '../../http/validation.ts';
import { formatId } from '../../schemas/ids.ts';
import { formatMoney, formatTime } from '../../schemas/schemas.ts';
import { type Order, postbackInput, type ShopReport, withoutEmptyMembers } from '../order.ts';
import type { ShopContext } from '../record-order.ts';
import { isAllowed, PLAIN_WORDS, renamed, withEventName } from '../shop-settings.ts';

const stepView = z.object({
  step: z.enum(['key', 'address', 'signature', 'parameters', 'order', 'click', 'window', 'coupon']),
  ok: z.boolean(),
  detail: z.string(),
});
type Step = z.output<typeof stepView>;

const testView = z
  .object({
    would: z
      .enum(['accept', 'repeat', 'reject'])
      .meta({ description: 'accept: record it; repeat: answer as before, it is there already; reject.' }),
    steps: z
      .array(stepView)
      .meta({ description: 'In the order in which they are taken, up to the first that refuses.' }),
    would_credit: z.boolean().meta({
      description:
        'Whether an affiliate would be credited, fraud rules aside: those look when it is recorded.',
    }),
  })
  .meta({ id: 'PostbackTest' });

/** Explains a call without doing it. */
export function addPostbackTestRoute(app: ApiServer, context: ShopContext): void {
  app.route({
    method: 'GET',
    url: '/v1/postbacks/test',
    config: { roles: ['advertiser', 'operator'], keyAsParameter: true },
    schema: {
      operationId: 'testPostback',
      tags: ['shops'],
      summary: 'Say step by step what /postback would do with these parameters; nothing is recorded',
      querystring: z.looseObject({}).meta({ description: 'The parameters of the call.' }),
      response: { 200: testView },
    },
    handler: async (request) => await explain(context, request),
  });
}

async function explain(context: ShopContext, request: FastifyRequest): Promise<z.output<typeof testView>> {
  const principal = principalOf(request);
  const steps: Step[] = [
    { step: 'key', ok: true, detail: `the key is ${principal.name}, a key of the ${principal.role}` },
  ];
  const take = (step: Step['step'], ok: boolean, detail: string): boolean => {
    steps.push({ step, ok, detail });
    return ok;
  };
  const rejected = { would: 'reject', steps, would_credit: false } as const;

  const own = principal.programId;
  const settings = own === null ? undefined : await context.shopSettings.of(own);
  const allowed = isAllowed(request.visitorIp, settings?.allowedIps ?? []);
  if (
    !take(
      'address',
      allowed,
      `${request.visitorIp ?? 'an unknown address'} ${allowed ? 'may call' : 'is in none of the allowed networks'}`,
    )
  ) {
    return rejected;
  }
  if (settings?.requireSignature) {
    take('signature', true, 'the program takes signed calls only: this one must be signed when it is made');
  }
  const words = settings ?? PLAIN_WORDS;
  const ours = inputOf(() => renamed(request.query as Record<string, unknown>, words));
  if (ours instanceof InputError) {
    take('parameters', false, ours.message);
    return rejected;
  }
  const { params, renames } = ours;
  const read = postbackInput.safeParse(withEventName(withoutEmptyMembers(params), words));
  const names = renames.map(({ from, to }) => `${from} is read as ${to}`);
  if (!read.success) {
    const faults = faultsIn(read.error).map(({ field, message }) => `${field} ${message}`);
    take('parameters', false, [...names, ...faults].join('; '));
    return rejected;
  }
  const { report, ignored } = read.data;
  const unknown = ignored.map((name) => `${name} is ignored`);
  take('parameters', true, [...names, ...unknown, 'all that is needed is there'].join('; '));

  const programId = own ?? report.programId;
  if (programId === undefined || (report.programId !== undefined && report.programId !== programId)) {
    take('order', false, 'program_id is missing or of another program than the key');
    return rejected;
  }
  const { order } = report;
  if (!order) {
    const known = await tellEvent(context, { report, programId, take });
    return known ? { would: 'accept', steps, would_credit: false } : rejected;
  }
  const would = await tellOrder(context, { order, programId, take });
  if (would === 'reject') return rejected;
  const byClick = await tellClick(context, { order, programId, take });
  const byCoupon = await tellCoupons(context, { order, programId, take });
  return { would, steps, would_credit: byClick || byCoupon };
}

/** The fault instead of what throws one. */
function inputOf<Value>(read: () => Value): Value | InputError {
  try {
    return read();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

interface Telling {
  readonly order: Order;
  readonly programId: number;
  readonly take: (step: Step['step'], ok: boolean, detail: string) => boolean;
}

/** Something that happened to an order: whether the order is known. */
async function tellEvent(
  { ledger }: ShopContext,
  { report, programId, take }: Pick<Telling, 'programId' | 'take'> & { report: ShopReport },
): Promise<boolean> {
  const { orderId, eventName, event } = report;
  const known = await findConversionByOrder(ledger, { programId, orderId, eventName });
  const did = event?.kind.replace('_', ' ') ?? 'reported';
  const detail = known
    ? `the order is recorded as ${formatId('conversion', known.id)}, and would be ${did}`
    : `the order would be ${did}, and is not known here: it must be reported first`;
  return take('order', known !== undefined, detail);
}

async function tellOrder(
  { ledger }: ShopContext,
  { order, programId, take }: Telling,
): Promise<'accept' | 'repeat' | 'reject'> {
  const known = await findConversionByOrder(ledger, { ...order, programId });
  if (!known) {
    const program = await getProgram(ledger, programId);
    const { eventName = DEFAULT_EVENT } = order;
    if (program && !program.events.includes(eventName)) {
      take('order', false, `event_name is no event of the program: ${program.events.join(', ')} are`);
      return 'reject';
    }
    const ok = program?.currency === order.currency;
    take('order', ok, ok ? 'the order is new' : `currency must be ${program?.currency}, that of the program`);
    return ok ? 'accept' : 'reject';
  }
  const amount = formatMoney(known.amountMinor, known.currency).amount;
  const what = `the order is recorded as ${formatId('conversion', known.id)}, of ${amount} ${known.currency}, ${known.status}`;
  const same = known.amountMinor === order.amountMinor && known.clickId === (order.clickId ?? null);
  take('order', same, same ? what : `${what}, with another amount or click: that is a conflict`);
  return same ? 'repeat' : 'reject';
}

async function tellClick(
  { ledger, warehouse, clickIds }: ShopContext,
  { order, programId, take }: Telling,
): Promise<boolean> {
  if (order.clickId === undefined) {
    return take(
      'click',
      false,
      'there is no click_id: without a coupon of an affiliate, the order would be left without one or go by fingerprint',
    );
  }
  const identity = clickIds.decode(order.clickId);
  if (!identity) return take('click', false, 'click_id is none of ours: it is damaged, or was made up');
  const completeTo = await readWatermark(warehouse);
  const [click] = await lookupClicks(warehouse, [identity]);
  const at = formatTime(new Date(identity.ts));
  if (!click) {
    const soon = completeTo === undefined || completeTo <= identity.ts;
    const fate = soon ? 'it is not counted yet, and the order would wait for it' : 'there is no such click';
    return take('click', false, `a click of ${at}: ${fate}`);
  }
  if (click.programId !== programId) return take('click', false, `a click of ${at}, of another program`);
  const who = `${formatId('affiliate', click.affiliateId)} by ${formatId('link', click.linkId)}`;
  take('click', true, `a click of ${at}, of ${who}`);
  const [terms] = await termsInForce(ledger, [
    { ...click, eventName: order.eventName, at: new Date(click.ts) },
  ]);
  if (!terms) return take('window', false, 'no terms were in force when it was made');
  const occurred = (order.occurredAt ?? new Date()).getTime();
  const until = click.ts + terms.cookieDays * DAY_MS;
  const within = occurred >= click.ts && occurred <= until;
  const span = `the order must lie between ${at} and ${formatTime(new Date(until))} (${terms.cookieDays} days)`;
  return take('window', within, `${span}: it ${within ? 'does' : 'does not'}`);
}

/** The codes of the order, where it has any: they credit it if those that are valid are of one affiliate. */
async function tellCoupons(
  { ledger }: ShopContext,
  { order: { coupons = [], eventName, occurredAt }, programId, take }: Telling,
): Promise<boolean> {
  if (coupons.length === 0) return false;
  const now = new Date();
  const at = occurredAt !== undefined && occurredAt < now ? occurredAt : now;
  const found = await findCoupons(
    ledger,
    coupons.map((code) => ({ programId, code, at })),
  );
  const able = found.flatMap((coupon) => (coupon?.isValid && !coupon.isTerminated ? [coupon] : []));
  const details = coupons.map((code, i) => `${code} ${standingOf(found[i])}`);
  const [first] = able;
  if (first === undefined) return take('coupon', false, details.join('; '));
  if (able.some(({ affiliateId }) => affiliateId !== first.affiliateId)) {
    return take('coupon', false, `${details.join('; ')}: codes of several affiliates credit none`);
  }
  const [terms] = await termsInForce(ledger, [{ ...first, programId, eventName, at }]);
  if (!terms) return take('coupon', false, `${details.join('; ')}, without terms in force`);
  return take('coupon', true, details.join('; '));
}

function standingOf(coupon: FoundCoupon | undefined): string {
  if (!coupon) return 'is no code of an affiliate';
  const whose = formatId('affiliate', coupon.affiliateId);
  if (!coupon.isValid) return `is a code of ${whose}, and not valid at the time of the order`;
  return coupon.isTerminated ? `is a code of ${whose}, which is terminated` : `is a code of ${whose}`;
}
