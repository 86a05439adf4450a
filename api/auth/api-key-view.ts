import { z } from 'zod';
import { type ApiKey, ROLES } from '../../ledger/access/api-keys.ts';
import { formatId, formatOptionalId, idText } from '../schemas/ids.ts';
import { formatOptionalTime, formatTime, timeText } from '../schemas/schemas.ts';

export const apiKeyView = z
  .object({
    id: idText('apiKey'),
    role: z.enum(ROLES),
    name: z.string(),
    program_id: idText('program').nullable().meta({ description: 'Null: every program.' }),
    affiliate_id: idText('affiliate').nullable(),
    scopes: z.array(z.string()).nullable().meta({ description: 'Null: all that the role may do.' }),
    signs: z.boolean().meta({ description: 'Whether calls may be signed with it instead of carrying it.' }),
    replaces: idText('apiKey').nullable().meta({ description: 'The key it took over from.' }),
    user_id: idText('user').nullable().meta({
      description:
        'The user behind it, who made it or the key that made it: it works while that user is active.',
    }),
    made_by: idText('apiKey').nullable().meta({ description: 'The key that made it.' }),
    created_at: timeText,
    expires_at: timeText.nullable(),
    revoked_at: timeText.nullable(),
    last_used_at: timeText.nullable().meta({ description: 'Within a minute or so.' }),
  })
  .meta({ id: 'ApiKey' });

/** A key as it is made: the one answer that shows it. */
export const createdApiKeyView = z
  .object({
    key: z.string().meta({ description: 'Shown in this answer only.' }),
    signing_secret: z
      .string()
      .optional()
      .meta({ description: 'To sign calls with, as Standard Webhooks does; shown in this answer only.' }),
    api_key: apiKeyView,
  })
  .meta({ id: 'CreatedApiKey' });

export function formatApiKey(key: ApiKey): z.output<typeof apiKeyView> {
  return {
    id: formatId('apiKey', key.id),
    role: key.role,
    name: key.name,
    program_id: formatOptionalId('program', key.programId),
    affiliate_id: formatOptionalId('affiliate', key.affiliateId),
    scopes: key.scopes,
    signs: key.signs,
    replaces: formatOptionalId('apiKey', key.replaces),
    user_id: formatOptionalId('user', key.userId),
    made_by: formatOptionalId('apiKey', key.madeBy),
    created_at: formatTime(key.createdAt),
    expires_at: formatOptionalTime(key.expiresAt),
    revoked_at: formatOptionalTime(key.revokedAt),
    last_used_at: formatOptionalTime(key.lastUsedAt),
  };
}
