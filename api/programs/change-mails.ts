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

const holdText = (heldUntil: Date | null): string =>
  heldUntil === null
    ? ''
    : ` Payouts are on hold until ${formatTime(heldUntil)}, so that this can be checked.`;

/** Mails the change to the old and the new address of the affiliate, to its users, and to the program's people. */
export async function mailChange(
  tx: DatabaseTransaction,
  secretBox: SecretBox,
  change: WitnessedChange,
): Promise<void> {
  const { before, after, what, now, actor, heldUntil } = change;
  const { id: affiliateId, programId, name } = after;
  const { affiliate, program } = await listWitnesses(tx, { programId, affiliateId });
  const hold = holdText(heldUntil);
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

/** Mails a merge to both affiliates, to their users, and to the program's people. `heldUntil`: of the one that stays. */
export async function mailMerge(
  tx: DatabaseTransaction,
  secretBox: SecretBox,
  merge: { merged: Affiliate; into: Affiliate; actor: string; heldUntil: Date | null },
): Promise<void> {
  const { merged, into, actor, heldUntil } = merge;
  const hold = holdText(heldUntil);
  const said = `${formatId('affiliate', merged.id)} was merged into ${formatId('affiliate', into.id)}, which has its links, recruits, orders to come and balance from now on.${hold}`;
  const { programId } = into;
  const people = new Map<string, string>();
  for (const { id: affiliateId, email, name } of [merged, into]) {
    const { affiliate, program } = await listWitnesses(tx, { programId, affiliateId });
    for (const to of program) people.set(normalEmail(to), `${said}\n\nBy ${actor}.\n`);
    const text = `Hello ${name},\n\n${said} If you do not expect that, write to us at once.\n`;
    for (const to of [email, ...affiliate]) people.set(normalEmail(to), text);
  }
  for (const [to, text] of people) {
    await queueMail(tx, secretBox, { to, subject: `${formatId('affiliate', merged.id)} was merged`, text });
  }
}
