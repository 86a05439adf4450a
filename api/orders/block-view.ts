import { z } from 'zod';
import { BLOCK_ACTIONS, BLOCK_KINDS } from '../../core/blocks/block.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import type { Block } from '../../ledger/blocks/blocks.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { auditJson } from '../http/commit.ts';
import { formatId, formatOptionalId, idText } from '../schemas/ids.ts';
import { formatOptionalTime, formatTime, timeText } from '../schemas/schemas.ts';

/** An entry of the block lists as the API and the audit log show it. */
export const blockView = z
  .object({
    id: idText('block'),
    program_id: idText('program').nullable().meta({ description: 'Null: of every program.' }),
    kind: z.enum(BLOCK_KINDS),
    value: z.string().meta({ description: 'In its one form, however it was written.' }),
    affiliate_id: idText('affiliate').nullable().meta({ description: 'Of a sub_id: whose.' }),
    sub: z.int().nullable().meta({ description: 'Of a sub_id: which of sub1 to sub5.' }),
    action: z.enum(BLOCK_ACTIONS).meta({
      description: 'Where its clicks are sent: on as normal, or to the fallback. They never earn either way.',
    }),
    reason: z.string(),
    created_by: z.string().meta({ description: 'As the audit log names them.' }),
    created_at: timeText,
    ends_at: timeText.nullable().meta({ description: 'Null: in force until somebody ends it.' }),
    ended_by: z.string().nullable().meta({ description: 'Null: its date, or not ended.' }),
  })
  .meta({ id: 'Block' });

export function formatBlock(block: Block): z.output<typeof blockView> {
  return {
    id: formatId('block', block.id),
    program_id: formatOptionalId('program', block.programId),
    kind: block.kind,
    value: block.value,
    affiliate_id: formatOptionalId('affiliate', block.affiliateId),
    sub: block.sub,
    action: block.action,
    reason: block.reason,
    created_by: block.createdBy,
    created_at: formatTime(block.createdAt),
    ends_at: formatOptionalTime(block.endsAt),
    ended_by: block.endedBy,
  };
}

/** Says in the audit log who made each entry, however they were given. */
export async function logNewBlocks(
  tx: DatabaseTransaction,
  { actor, blocks }: { actor: string; blocks: readonly Block[] },
): Promise<void> {
  for (const view of blocks.map(formatBlock))
    await appendAuditLog(tx, { actor, action: 'block.create', subject: view.id, after: auditJson(view) });
}
