import type { SecretBox } from '../../core/secret-box.ts';
import { listWitnesses, normalEmail } from '../../ledger/access/users.ts';
import { queueMail } from '../../ledger/integrations/mails.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import type { Affiliate } from '../../ledger/programs/affiliates.ts';
import { formatId } from '../schemas/ids.ts';
import { formatTime } from '../schemas/schemas.ts';

/** Who took over an account changes where its money goes: the owner and the program hear of it before money leaves. */

/** A change of where an affiliate's money goes, or of the address that would hear of it. */
export interface WitnessedChange {
  readonly before: Affiliate;
  readonly after: Affiliate;
  /** Such as "payout method". */
  readonly what: string;
  /** What it is now, as far as a mail may show it. */
  readonly now: string;
  /** As the audit log names them. */
  readonly actor: string;
  /** Until then nothing is paid there; null: no hold. */
  readonly heldUntil: Date | null;
}

/** Mails the change to the old and the new address of the affiliate, to its users, and to the program's people. */
export async function mailChange(
  tx: DatabaseTransaction,
  secretBox: SecretBox,
  change: WitnessedChange,
): Promise<void> {
  const { before, after, what, now, actor, heldUntil } = change;
  const { id: affiliateId, programId, name } = after;
  const { affiliate, program } = await listWitnesses(tx, { programId, affiliateId });
  const hold =
    heldUntil === null
      ? ''
      : ` Payouts are on hold until ${formatTime(heldUntil)}, so that this can be checked.`;
  for (const to of new Set([before.email, after.email, ...affiliate].map(normalEmail))) {
    await queueMail(tx, secretBox, {
      to,
      subject: `Your ${what} was changed`,
      text: `Hello ${name},\n\nyour ${what} was changed to ${now}.${hold} If that was not you, write to us at once.\n`,
    });
  }
  for (const to of new Set(program.map(normalEmail))) {
    await queueMail(tx, secretBox, {
      to,
      subject: `The ${what} of ${formatId('affiliate', affiliateId)} was changed`,
      text: `The ${what} of ${name} (${formatId('affiliate', affiliateId)}) was changed to ${now} by ${actor}.${hold}\n`,
    });
  }
}
