import { OperatingError } from '../../core/errors.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { connectOwner, type DatabaseSql, type DatabaseTransaction } from '../postgres/db.ts';
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
 * Ids given out after the backup are known outside: in links, webhooks, clicks, statements. None is given out again, unless
 * there were more of them than this; of 32 bits there are 2 × 10⁹.
 */
const SKIPPED_IDS = { integer: 10_000n, bigint: 1_000_000n };

/** The newest row that each hash chain covers, by the chain's name. */
export type ChainEnds = ReadonlyMap<string, bigint>;

/**
 * {@link settleAfterRestore} for a database that PostgreSQL's own tools have restored, as its owner.
 * @throws OperatingError `usage` when that was done for the same moment before.
 */
export async function settleLedger(options: { url: string; backup: RestoredBackup }): Promise<ChainEnds> {
  const { url, backup } = options;
  const owner = await connectOwner({ url, name: 'afflux-settle' });
  try {
    return await owner.begin(async (tx) => {
      if (await hasSettled(tx, backup)) {
        throw new OperatingError(
          'usage',
          `the restore to ${backup.madeAt} is on record already (${RESTORED} in the audit log)`,
        );
      }
      await settleAfterRestore(tx, backup);
      const ends = await tx<{ chain: string; lastId: bigint }[]>`
        select chain, max(last_id) as last_id from hash_chain group by chain`;
      return new Map(ends.map(({ chain, lastId }) => [chain, lastId]));
    });
  } finally {
    await owner.end();
  }
}

/** Whether the database was restored from this backup and settled. */
export async function hasSettled(sql: DatabaseSql, backup: RestoredBackup): Promise<boolean> {
  const found = await sql`
    select from audit_log where action = ${RESTORED} and after ->> 'backup_id' = ${backup.id} limit 1`;
  return found.length > 0;
}

/**
 * What a restored database must not go on with as if nothing had happened since its backup: the world has gone on.
 *
 * Payouts that were to be handed over can have been paid since: they become `unknown`, which asks the provider by their
 * keys, and waits for a person where it cannot be asked. Payouts that are not in the backup can have been paid, too: every
 * run of every program waits for a second person until somebody switches that off. Sessions that were ended since would
 * live again, so all end. The warehouse's copy of the conversions is made again.
 */
export async function settleAfterRestore(tx: DatabaseTransaction, backup: RestoredBackup): Promise<void> {
  const reason = `restored from the backup of ${backup.madeAt}: it can have been paid since`;
  await skipIds(tx);
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

async function skipIds(tx: DatabaseTransaction): Promise<void> {
  const sequences = await tx<{ name: string; type: string; last: bigint; max: bigint }[]>`
    select format('%I', sequencename) as name, data_type::text as type, coalesce(last_value, start_value) as last, max_value as max
    from pg_sequences where schemaname = 'public' order by 1`;
  for (const { name, type, last, max } of sequences) {
    const wanted = last + (type === 'bigint' ? SKIPPED_IDS.bigint : SKIPPED_IDS.integer);
    await tx`select setval(${name}::regclass, ${wanted < max ? wanted : max})`;
  }
}
