import { z } from 'zod';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { MAX_EVENT_LENGTH, MAX_EVENTS } from '../../../ledger/programs/events.ts';
import {
  COMMISSION_BASES,
  COUPON_EVIDENCE,
  createProgram,
  FINGERPRINT_MATCHES,
  getProgram,
  listPrograms,
  MAX_HOLD_DAYS,
  MAX_SENDER_NAME_LENGTH,
  PROGRAM_STATUSES,
  type Program,
  updateProgram,
} from '../../../ledger/programs/programs.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { type Principal, principalOf } from '../../http/principal.ts';
import { notFound, Problem } from '../../http/problems.ts';
import { isTakenBack } from '../../orders/order-status.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import {
  currencyText,
  formatPage,
  formatTime,
  nameText,
  pageOf,
  pageQuery,
  pageRequest,
  passParameters,
  text,
  timeText,
  urlText,
} from '../../schemas/schemas.ts';
import { thresholds, thresholdsInForce } from '../fraud-thresholds.ts';

const MAX_HOST_LENGTH = 253;
const couponEvidence = z.enum(COUPON_EVIDENCE).meta({
  description:
    'Which counts when a click, or the customer’s first order, is of one affiliate and a coupon of another.',
});

const programView = z
  .object({
    id: idText('program'),
    name: z.string(),
    currency: z.string(),
    status: z.enum(PROGRAM_STATUSES),
    fallback_url: z.string().nullable(),
    tracking_domain: z.string().nullable(),
    pass_parameters: passParameters,
    fingerprint_match: z.enum(FINGERPRINT_MATCHES),
    fraud_rules: thresholds,
    coupon_evidence: couponEvidence,
    rules_version: z.int(),
    anonymise_ip: z
      .boolean()
      .meta({ description: 'Addresses are cut to /24 or /48 before they are written.' }),
    cookies: z.boolean().meta({ description: 'Whether redirects set the click cookie.' }),
    honour_opt_out: z
      .boolean()
      .meta({ description: 'DNT: 1 or Sec-GPC: 1 means no cookie, a cut address, no fingerprint.' }),
    events: z.array(z.string()).meta({
      description: 'What orders may be of; terms may be for one of them. An order that names none is a sale.',
    }),
    commission_base: z.enum(COMMISSION_BASES).meta({
      description:
        'What of an order’s items earns: all that was paid, or that without tax, or without shipping too.',
    }),
    payout_method_hold_days: z
      .number()
      .meta({ description: 'Days without payouts to a destination after it was changed.' }),
    payouts_need_approval: z
      .boolean()
      .meta({ description: 'Whether a second person approves a payout run before it is handed over.' }),
    require_second_factor: z.boolean().meta({
      description: 'Operators and finance must have a second factor before anything else is allowed.',
    }),
    mail_sender_name: z
      .string()
      .nullable()
      .meta({ description: 'Of its mails, before the address; null: that of the platform.' }),
    created_at: timeText,
  })
  .partial({
    payout_method_hold_days: true,
    payouts_need_approval: true,
    fingerprint_match: true,
    fraud_rules: true,
    coupon_evidence: true,
    rules_version: true,
    require_second_factor: true,
    mail_sender_name: true,
  })
  .meta({
    id: 'Program',
    description:
      'The fraud rules, the payout settings and the second factor are shown to the operator’s own people only.',
  });

const rules = {
  fingerprint_match: z.enum(FINGERPRINT_MATCHES).exactOptional(),
  fraud_rules: thresholds.exactOptional(),
  coupon_evidence: couponEvidence.exactOptional(),
};

const privacy = {
  anonymise_ip: z.boolean().exactOptional(),
  cookies: z.boolean().exactOptional(),
  honour_opt_out: z.boolean().exactOptional(),
};

const payouts = {
  payout_method_hold_days: z.int().min(0).max(MAX_HOLD_DAYS).exactOptional(),
  payouts_need_approval: z.boolean().exactOptional(),
};
/** A word for what takes an order back would report a cancelled order as a new one. */
const eventToSet = text(MAX_EVENT_LENGTH).refine(
  (name) => !isTakenBack(name),
  'must not be a word for what happens to an order, such as cancelled',
);
const orders = {
  events: z
    .array(eventToSet)
    .min(1)
    .max(MAX_EVENTS)
    .exactOptional()
    .meta({
      description: 'Names of lower-case letters, digits and _; sale must be one.',
      examples: [['sale', 'lead']],
    }),
  commission_base: z.enum(COMMISSION_BASES).exactOptional(),
};
const access = { require_second_factor: z.boolean().exactOptional() };

const mails = { mail_sender_name: text(MAX_SENDER_NAME_LENGTH).nullable().exactOptional() };

const redirects = {
  fallback_url: urlText.nullable().exactOptional(),
  tracking_domain: text(MAX_HOST_LENGTH).nullable().exactOptional(),
  pass_parameters: passParameters.exactOptional(),
};

const params = z.object({ id: integerId('program') });

/** A threshold that is known is a threshold that is evaded. */
const SEE_RULES: ReadonlySet<string> = new Set(['operator', 'finance', 'fraud']);

function formatProgram(program: Program, principal: Principal): z.output<typeof programView> {
  return {
    id: formatId('program', program.id),
    name: program.name,
    currency: program.currency,
    status: program.status,
    fallback_url: program.fallbackUrl,
    tracking_domain: program.trackingDomain,
    pass_parameters: [...program.passParameters],
    anonymise_ip: program.anonymiseIp,
    cookies: program.cookies,
    honour_opt_out: program.honourOptOut,
    events: [...program.events],
    commission_base: program.commissionBase,
    created_at: formatTime(program.createdAt),
    ...(SEE_RULES.has(principal.role) && {
      payout_method_hold_days: program.payoutMethodHoldDays,
      payouts_need_approval: program.payoutsNeedApproval,
      fingerprint_match: program.fingerprintMatch,
      fraud_rules: thresholdsInForce(program.fraudRules),
      coupon_evidence: program.couponEvidence,
      rules_version: program.rulesVersion,
      require_second_factor: program.requireSecondFactor,
      mail_sender_name: program.mailSenderName,
    }),
  };
}

function visible(principal: Principal, program: Program | undefined): Program {
  const foreign = principal.programId !== null && program?.id !== principal.programId;
  if (program === undefined || foreign) throw notFound('program with this id');
  return program;
}

const A_PERSON_LOOSENS =
  'a key cannot shorten payout_method_hold_days or end payouts_need_approval: a signed-in user can';

/** Whether a change takes away what protects the payouts: otherwise a stolen key would begin with that. */
function loosensPayouts(
  old: Program,
  changes: { payout_method_hold_days?: number; payouts_need_approval?: boolean },
): boolean {
  const { payout_method_hold_days: days, payouts_need_approval: approval } = changes;
  return (
    (days !== undefined && days < old.payoutMethodHoldDays) || (approval === false && old.payoutsNeedApproval)
  );
}

export function addProgramRoutes(app: ApiServer, context: ApiContext): void {
  addProgramQueries(app, context);
  addProgramCommands(app, context);
}

function addProgramQueries(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/programs',
    config: { roles: ROLES },
    schema: {
      operationId: 'listPrograms',
      tags: ['programs'],
      summary: 'The programs the key can see, by id',
      querystring: z.object(pageQuery('program')),
      response: { 200: pageOf(programView) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const page =
        principal.programId === null
          ? await listPrograms(ledger, pageRequest(request.query))
          : { rows: [visible(principal, await getProgram(ledger, principal.programId))], next: null };
      return formatPage('program', page, (program) => formatProgram(program, principal));
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/programs/:id',
    config: { roles: ROLES, problems: ['not_found'] },
    schema: {
      operationId: 'getProgram',
      tags: ['programs'],
      summary: 'One program',
      params,
      response: { 200: programView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const program = visible(principal, await getProgram(ledger, request.params.id));
      return withEtag(reply, formatProgram(program, principal));
    },
  });
}

function addProgramCommands(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/programs',
    config: { roles: ['operator'], idempotent: true },
    schema: {
      operationId: 'createProgram',
      tags: ['programs'],
      summary: 'Create a program; its terms are set next',
      body: z.strictObject({
        name: nameText,
        currency: currencyText,
        ...redirects,
        ...rules,
        ...privacy,
        ...payouts,
        ...orders,
        ...access,
        ...mails,
      }),
      response: { 201: programView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      if (principal.programId !== null) {
        throw new Problem('forbidden', { detail: 'a key of one program cannot create another' });
      }
      return await commit(context, request, reply, async (tx) => {
        const body = formatProgram(await createProgram(tx, camelKeys(request.body)), principal);
        return { status: 201, body, audit: { action: 'program.create', subject: body.id, after: body } };
      });
    },
  });

  addChangeRoute(app, context);
}

function addChangeRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'PATCH',
    url: '/v1/programs/:id',
    config: {
      roles: ['operator'],
      idempotent: true,
      ifMatch: true,
      problems: ['not_found', 'reauthentication_required'],
    },
    schema: {
      operationId: 'updateProgram',
      tags: ['programs'],
      summary: 'Change a program',
      params,
      body: z.strictObject({
        name: nameText.exactOptional(),
        status: z.enum(PROGRAM_STATUSES).exactOptional(),
        ...redirects,
        ...rules,
        ...privacy,
        ...payouts,
        ...orders,
        ...access,
        ...mails,
      }),
      response: { 200: programView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      // A stolen session could lift it.
      if (request.body.require_second_factor !== undefined) requireRecentSignIn(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'programs', id);
        const old = visible(principal, await getProgram(tx, id));
        const before = formatProgram(old, principal);
        checkMatch(request, before);
        if (loosensPayouts(old, request.body)) {
          if (principal.userId === null) throw new Problem('forbidden', { detail: A_PERSON_LOOSENS });
          requireRecentSignIn(request);
        }
        const updated = await updateProgram(tx, { id, changes: camelKeys(request.body) });
        const after = formatProgram(visible(principal, updated), principal);
        return { body: after, audit: { action: 'program.update', subject: after.id, before, after } };
      });
      return withEtag(reply, changed);
    },
  });
}
