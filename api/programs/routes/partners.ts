import { z } from 'zod';
import { createUser } from '../../../ledger/access/users.ts';
import {
  accountOf,
  encryptPayoutDetails,
  getPayoutMethod,
  hashAccount,
  type PayoutMethod,
  setPayoutMethod,
} from '../../../ledger/payouts/methods.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { affiliateTree, type SubAffiliate, subAffiliates } from '../../../ledger/programs/affiliate-tree.ts';
import {
  AFFILIATE_STATUSES,
  createAffiliate,
  getAffiliate,
  updateAffiliate,
} from '../../../ledger/programs/affiliates.ts';
import { invite } from '../../auth/routes/users.ts';
import { formatUser, userView } from '../../auth/user-view.ts';
import { checkMatch, commit, tagged } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf, programRequired } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import { formatMoney, formatTime, moneyText, nameText, text, timeText } from '../../schemas/schemas.ts';
import { affiliateView, formatAffiliate, newAffiliate, visibleAffiliate } from '../affiliate-view.ts';

const MAX_NOTE_CHARS = 2_000;
const MAX_ACCOUNT_CHARS = 100;

const params = z.object({ id: integerId('affiliate') });

const memberView = z
  .object({
    id: idText('affiliate'),
    parent_id: idText('affiliate').nullable(),
    name: z.string(),
    status: z.enum(AFFILIATE_STATUSES),
    depth: z.number().meta({ description: 'Negative above the affiliate, 0 itself, positive below.' }),
    earned: moneyText.meta({ description: 'At every level, less what was taken back.' }),
  })
  .meta({ id: 'TreeMember' });

const methodInput = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('bank'),
    holder: nameText,
    iban: z
      .string()
      .meta({ examples: ['DE89 3704 0044 0532 0130 00'] })
      .transform((value) => value.replace(/\s/g, '').toUpperCase())
      .refine(isIban, 'must be an IBAN'),
  }),
  z.strictObject({
    kind: z.literal('paypal'),
    email: text(MAX_ACCOUNT_CHARS).regex(/^[^\s@]+@[^\s@]+$/, 'must be an e-mail address'),
  }),
  z.strictObject({
    kind: z.literal('stripe'),
    account: z.string().regex(/^acct_[A-Za-z0-9]{8,50}$/, 'must be an account such as acct_1032D82eZvKYlo2C'),
  }),
]);

const methodView = z
  .object({
    affiliate_id: idText('affiliate'),
    kind: z.enum(['bank', 'paypal', 'stripe']).nullable().meta({ description: 'Null: none is set.' }),
    hint: z
      .string()
      .nullable()
      .meta({ description: 'Enough to recognise it by; the rest is stored encrypted.' }),
    updated_at: timeText.nullable(),
  })
  .meta({ id: 'PayoutMethod' });

/** ISO 13616: the rest of the number modulo 97 is 1. */
function isIban(iban: string): boolean {
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{10,30}$/.test(iban)) return false;
  const turned = iban.slice(4) + iban.slice(0, 4);
  const digits = turned.replace(/[A-Z]/g, (letter) => String(letter.charCodeAt(0) - 55));
  return BigInt(digits) % 97n === 1n;
}

function hintOf(method: z.output<typeof methodInput>): string {
  if (method.kind === 'bank') return `${method.iban.slice(0, 2)} … ${method.iban.slice(-4)}`;
  if (method.kind === 'paypal')
    return `${method.email.slice(0, 1)}…@${method.email.split('@')[1]}`.slice(0, 100);
  return `acct_…${method.account.slice(-4)}`;
}

function formatMethod(affiliateId: number, method: PayoutMethod | undefined): z.output<typeof methodView> {
  return {
    affiliate_id: formatId('affiliate', affiliateId),
    kind: method?.kind ?? null,
    hint: method?.hint ?? null,
    updated_at: method ? formatTime(method.updatedAt) : null,
  };
}

const subAffiliatesView = z
  .object({
    levels: z
      .array(z.object({ level: z.number(), members: z.number(), conversions: z.string(), earned: moneyText }))
      .meta({ description: 'Level 2: recruited by itself; level 3: by those; and so on.' }),
    data: z.array(
      z.object({
        id: idText('affiliate'),
        parent_id: idText('affiliate').nullable(),
        name: z.string(),
        status: z.enum(AFFILIATE_STATUSES),
        level: z.number(),
        since: timeText,
        conversions: z.string(),
        earned: moneyText.meta({ description: 'By the affiliate asked about, less what was taken back.' }),
      }),
    ),
  })
  .meta({ id: 'SubAffiliates' });

function formatSubAffiliates(members: readonly SubAffiliate[]): z.output<typeof subAffiliatesView> {
  const levels = [...new Set(members.map(({ level }) => level))].map((level) => {
    const own = members.filter((member) => member.level === level);
    const sum = (value: (member: SubAffiliate) => bigint): bigint =>
      own.reduce((total, member) => total + value(member), 0n);
    return {
      level,
      members: own.length,
      conversions: String(sum(({ conversions }) => conversions)),
      earned: formatMoney(
        sum(({ earnedMinor }) => earnedMinor),
        own[0]?.currency ?? '',
      ),
    };
  });
  return {
    levels,
    data: members.map((member) => ({
      id: formatId('affiliate', member.id),
      parent_id: formatOptionalId('affiliate', member.parentId),
      name: member.name,
      status: member.status,
      level: member.level,
      since: formatTime(member.createdAt),
      conversions: String(member.conversions),
      earned: formatMoney(member.earnedMinor, member.currency),
    })),
  };
}

/** What becomes of an affiliate, by the word of the route. */
const MOVES = { approve: 'active', suspend: 'suspended', terminate: 'terminated' } as const;

/** Partners: inviting them, what becomes of them, their tree, their profile and where their money goes. */
export function addPartnerRoutes(app: ApiServer, context: ApiContext): void {
  addStatusRoutes(app, context);
  addProfileRoutes(app, context);
}

function addStatusRoutes(app: ApiServer, context: ApiContext): void {
  const { mailer } = context;
  const tags = ['affiliates'];

  app.route({
    method: 'POST',
    url: '/v1/affiliates/invite',
    config: {
      roles: ['operator'],
      idempotent: true,
      example: { ref_code: 'ann', name: 'Ann', email: 'ann@example.com' },
    },
    schema: {
      operationId: 'inviteAffiliate',
      tags,
      summary: 'Create an affiliate with a user of the portal, and mail the link to set a password',
      body: z.strictObject({ program_id: integerId('program').optional(), ...newAffiliate }),
      response: { 201: z.object({ affiliate: affiliateView, user: userView }) },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const programId = programRequired(principal, request.body.program_id);
      let send = async (): Promise<void> => undefined;
      const body = await commit(context, request, reply, async (tx) => {
        const created = await createAffiliate(tx, { ...camelKeys(request.body), programId });
        const { id: affiliateId, name, email } = created;
        const user = await createUser(tx, { email, name, role: 'affiliate', programId, affiliateId });
        send = await invite(context, tx, user);
        const done = { affiliate: formatAffiliate(created), user: formatUser(user) };
        const audit = { action: 'affiliate.invite', subject: done.affiliate.id, after: done };
        return { status: 201, body: done, audit };
      });
      void send();
      return body;
    },
  });

  for (const [word, status] of Object.entries(MOVES)) {
    app.route({
      method: 'POST',
      url: `/v1/affiliates/:id/${word}`,
      config: { roles: ['operator'], problems: ['not_found'] },
      schema: {
        operationId: `${word}Affiliate`,
        tags,
        summary: `Make an affiliate ${status}, and tell it by mail`,
        params,
        body: z.strictObject({
          note: text(MAX_NOTE_CHARS).meta({ description: 'Why; it stays in the audit log.' }),
        }),
        response: { 200: affiliateView },
      },
      handler: async (request, reply) => {
        const principal = principalOf(request);
        const { id } = request.params;
        const { note } = request.body;
        const after = await commit(context, request, reply, async (tx) => {
          await lockRow(tx, 'affiliates', id);
          const before = formatAffiliate(visibleAffiliate(principal, await getAffiliate(tx, id)));
          const changed = await updateAffiliate(tx, { id, changes: { status } });
          const body = formatAffiliate(visibleAffiliate(principal, changed));
          const audit = { action: `affiliate.${word}`, subject: body.id, before, after: { ...body, note } };
          return { body, audit };
        });
        const told = { to: after.email, subject: `Your account is ${status}` };
        void mailer.send({
          ...told,
          text: `Hello ${after.name},\n\nyour affiliate account is ${status} now.\n`,
        });
        return tagged(reply, after);
      },
    });
  }
}

function addProfileRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, secretBox } = context;
  const tags = ['affiliates'];

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/tree',
    config: { roles: ['operator', 'finance', 'fraud'], problems: ['not_found'] },
    schema: {
      operationId: 'getAffiliateTree',
      tags,
      summary: 'Who recruited whom, above and below an affiliate, with what each earned',
      params,
      response: { 200: z.object({ data: z.array(memberView) }) },
    },
    handler: async (request) => {
      const affiliate = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      const members = await affiliateTree(ledger, affiliate.id);
      return {
        data: members.map((member) => ({
          id: formatId('affiliate', member.id),
          parent_id: formatOptionalId('affiliate', member.parentId),
          name: member.name,
          status: member.status,
          depth: member.depth,
          earned: formatMoney(member.earnedMinor, member.currency),
        })),
      };
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/sub-affiliates',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'listSubAffiliates',
      tags,
      summary: 'Whom an affiliate recruited, level by level, with what it earned by each',
      params,
      response: { 200: subAffiliatesView },
    },
    handler: async (request) => {
      const { id } = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      return formatSubAffiliates(await subAffiliates(ledger, id));
    },
  });

  app.route({
    method: 'PATCH',
    url: '/v1/affiliates/:id/profile',
    config: { roles: ['operator', 'affiliate'], ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateProfile',
      tags,
      summary: 'What an affiliate may change of itself',
      params,
      body: z.strictObject({ name: nameText.exactOptional(), email: newAffiliate.email.exactOptional() }),
      response: { 200: affiliateView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'affiliates', id);
        const before = formatAffiliate(visibleAffiliate(principal, await getAffiliate(tx, id)));
        checkMatch(request, before);
        const updated = await updateAffiliate(tx, { id, changes: request.body });
        const after = formatAffiliate(visibleAffiliate(principal, updated));
        return { body: after, audit: { action: 'affiliate.profile', subject: after.id, before, after } };
      });
      return tagged(reply, changed);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/payout-method',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'getPayoutMethod',
      tags,
      summary: 'Where an affiliate’s money goes, by a hint',
      params,
      response: { 200: methodView },
    },
    handler: async (request, reply) => {
      const { id } = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      return tagged(reply, formatMethod(id, await getPayoutMethod(ledger, id)));
    },
  });

  app.route({
    method: 'PUT',
    url: '/v1/affiliates/:id/payout-method',
    config: { roles: ['operator', 'affiliate'], ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'setPayoutMethod',
      tags,
      summary: 'Set where an affiliate’s money goes; stored encrypted, and told by mail',
      params,
      body: methodInput,
      response: { 200: methodView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      let owner: { name: string; email: string } | undefined;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'affiliates', id);
        owner = visibleAffiliate(principal, await getAffiliate(tx, id));
        const before = formatMethod(id, await getPayoutMethod(tx, id));
        checkMatch(request, before);
        const details = encryptPayoutDetails(secretBox, request.body);
        const { kind } = request.body;
        const after = formatMethod(
          id,
          await setPayoutMethod(tx, {
            affiliateId: id,
            kind,
            details,
            accountHash: hashAccount(accountOf(request.body)),
            hint: hintOf(request.body),
          }),
        );
        return {
          body: after,
          audit: { action: 'payout_method.set', subject: after.affiliate_id, before, after },
        };
      });
      if (!owner) throw notFound('affiliate with this id');
      // Whoever has taken an account over changes this first; its owner should hear of it.
      void context.mailer.send({
        to: owner.email,
        subject: 'Your payout method was changed',
        text: `Hello ${owner.name},\n\nyour payouts go to ${changed.hint} from now on. If that was not you, write to us at once.\n`,
      });
      return tagged(reply, changed);
    },
  });
}
