import { z } from 'zod';
import { MAX_ALLOWED_HOSTS, MAX_HOST_PATTERN_LENGTH } from '../../../core/links/destination.ts';
import { MAX_EMAIL_LENGTH } from '../../../core/text-limits.ts';
import { setPassword } from '../../../ledger/access/users.ts';
import { inTransaction } from '../../../ledger/postgres/db.ts';
import { type FirstParts, hasOperator, lockSetup, setUp } from '../../../ledger/setup/first-setup.ts';
import { guess, setupLimits } from '../../auth/guesses.ts';
import { setKnownDevice } from '../../auth/known-devices.ts';
import { checkNewPassword, hashPassword, newPassword } from '../../auth/passwords.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { invalidField, notFound } from '../../http/problems.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { formatId, idText } from '../../schemas/ids.ts';
import {
  amountText,
  cookieDays,
  currencyText,
  holdDays,
  nameText,
  plain,
  rateBps,
  text,
  urlText,
} from '../../schemas/schemas.ts';
import { isSetupToken } from '../token.ts';

const MAX_TOKEN_LENGTH = 200;
const email = plain(MAX_EMAIL_LENGTH).meta({ examples: ['olga@shop.example'] });

const firstSetup = z.strictObject({
  token: text(MAX_TOKEN_LENGTH).meta({ description: 'Of the link that `npm start` prints; good for a day.' }),
  operator: z.strictObject({ email, name: nameText, password: newPassword }),
  program: z.strictObject({ name: nameText, currency: currencyText }),
  terms: z
    .strictObject({
      rate_bps: rateBps.exactOptional(),
      hold_days: holdDays.exactOptional(),
      cookie_days: cookieDays.exactOptional(),
      payout_min: amountText.exactOptional(),
    })
    .exactOptional(),
  campaign: z
    .strictObject({
      name: nameText,
      landing_url: urlText,
      allowed_hosts: z.array(text(MAX_HOST_PATTERN_LENGTH)).max(MAX_ALLOWED_HOSTS).exactOptional(),
    })
    .exactOptional(),
  affiliate: z.strictObject({ name: nameText, email }).exactOptional(),
});

const setupView = z
  .object({
    operator_id: idText('user'),
    program_id: idText('program'),
    campaign_id: idText('campaign').nullable(),
    affiliate_id: idText('affiliate').nullable(),
    link_url: z.string().nullable().meta({ description: 'The tracking link of the affiliate.' }),
  })
  .meta({ id: 'FirstSetup' });

const GONE = 'setup of this platform, which has an operator,';

/** The first operator with the first program, made by the reader of what `npm start` prints. */
export function addFirstSetupRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/setup',
    config: { roles: 'public', problems: ['not_found', 'locked_out'] },
    schema: {
      operationId: 'setUpPlatform',
      tags: ['session'],
      summary: 'Set up a platform without an operator: the first operator, program, campaign and affiliate',
      description: 'All of it is made, or nothing. With the first operator this route is gone.',
      body: firstSetup,
      response: { 201: setupView },
    },
    handler: async (request, reply) => {
      const { ledger, secretBox, portalUrl } = context;
      const { token, operator, program, terms, campaign, affiliate } = request.body;
      if (await hasOperator(ledger)) throw notFound(GONE);
      const isRight = await guess(ledger, setupLimits(request.visitorIp), async () =>
        isSetupToken(secretBox, token, Date.now()),
      );
      if (!isRight)
        throw invalidField(
          'token',
          'is not in the link that the last npm start printed, or is older than a day',
        );
      const { password, ...user } = operator;
      checkNewPassword(password, { field: 'operator.password', user, programNames: [program.name] });
      const hash = await hashPassword(password);
      const parts = await inTransaction(ledger, async (tx) => {
        await lockSetup(tx);
        // Of two browsers at once the second finds the operator of the first.
        if (await hasOperator(tx)) throw notFound(GONE);
        const made = await setUp(tx, {
          operator: user,
          program,
          terms: terms && camelKeys(terms),
          campaign: campaign && camelKeys(campaign),
          affiliate,
        });
        await setPassword(tx, { id: made.operator.made.id, hash });
        return made;
      });
      setKnownDevice(reply, { userId: parts.operator.made.id, secretBox, portalUrl });
      return reply.code(201).send(formatParts(parts, context));
    },
  });
}

function formatParts(
  { operator, program, campaign, affiliate, link }: FirstParts,
  { collectorUrl }: Pick<ApiContext, 'collectorUrl'>,
): z.output<typeof setupView> {
  return {
    operator_id: formatId('user', operator.made.id),
    program_id: formatId('program', program?.made.id ?? 0),
    campaign_id: campaign ? formatId('campaign', campaign.made.id) : null,
    affiliate_id: affiliate ? formatId('affiliate', affiliate.made.id) : null,
    link_url: link ? `${collectorUrl}/c/${link.made.code}` : null,
  };
}
