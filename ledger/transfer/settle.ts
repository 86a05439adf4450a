import { appendAuditLog } from '../access/audit-log.ts';
import type { DatabaseTransaction } from '../postgres/db.ts';
import { refillOutbox } from '../postgres/outbox.ts';

const ACTOR = 'command line';
/** Its action in the audit log. */
export const RESTORED = 'platform.restored';

/** Names the backup in the audit log. */
export interface RestoredBackup {
  readonly id: string;
  readonly madeAt: string;
}

/**
 * What a restored database must not go on with as if nothing had happened since its backup: the world has gone on.
 *
 * Payouts that were to be handed over can have been paid since: they become `unknown`, which asks the provider by their
 * keys, and waits for a person where it cannot be asked. Payouts that are not in the backup can have been paid, too: every
 * run of every program waits for a second person until somebody switches that off. Sessions that were ended since would
 * live again, so all end. The warehouse's copy of the conversions is made anew.
 */
export async function settleAfterRestore(tx: DatabaseTransaction, backup: RestoredBackup): Promise<void> {
  const reason = `restored from the backup of ${backup.madeAt}: it can have been paid since`;
  await tx`update payouts set state = 'submitting' where state = 'created'`;
  const asked = await tx`
    update payouts set state = 'unknown', failure = 'the provider gave no answer', provider_failure = ${reason}
    where state = 'submitting'`.affected();
  const held = await tx`
    update programs set payouts_need_approval = true where not payouts_need_approval`.affected();
  await tx`delete from sessions`;
  await refillOutbox(tx);
  await appendAuditLog(tx, {
    actor: ACTOR,
    action: RESTORED,
    subject: 'platform',
    after: {
      backup_id: backup.id,
      made_at: backup.madeAt,
      payouts_unknown: asked,
      programs_whose_payouts_wait_for_approval: held,
    },
  });
}
