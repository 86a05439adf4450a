import { z } from 'zod';
import { ROLES } from '../../ledger/access/api-keys.ts';
import { USER_STATUSES, type User } from '../../ledger/access/users.ts';
import { formatId, formatOptionalId, idText } from '../schemas/ids.ts';
import { formatOptionalTime, formatTime, timeText } from '../schemas/schemas.ts';

export const userView = z
  .object({
    id: idText('user'),
    email: z.string(),
    name: z.string(),
    role: z.enum(ROLES),
    program_id: idText('program').nullable().meta({ description: 'Null: every program.' }),
    affiliate_id: idText('affiliate').nullable(),
    status: z.enum(USER_STATUSES),
    invited: z.boolean().meta({ description: 'The invitation was not accepted yet.' }),
    created_at: timeText,
    last_login_at: timeText.nullable(),
  })
  .meta({ id: 'User' });

/** Beside a user that was invited. */
export const invitationLinkText = z.string().nullable().meta({
  description:
    'By which the user sets a password, for a week and one use. Shown where the platform has no mail server, the user has no password yet, and the caller may create users.',
});

export function formatUser(user: User): z.output<typeof userView> {
  return {
    id: formatId('user', user.id),
    email: user.email,
    name: user.name,
    role: user.role,
    program_id: formatOptionalId('program', user.programId),
    affiliate_id: formatOptionalId('affiliate', user.affiliateId),
    status: user.status,
    invited: !user.hasPassword,
    created_at: formatTime(user.createdAt),
    last_login_at: formatOptionalTime(user.lastLoginAt),
  };
}
