import { z } from 'zod';
import { AUDIT_LOG_LIST, listAuditLog, type WrittenAuditEntry } from '../../../ledger/access/audit-log.ts';
import { CONVERSION_REASONS } from '../../../ledger/conversions/conversions.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { type Principal, programFilter } from '../../http/principal.ts';
import { reasonFor } from '../../orders/conversion-view.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import { formatTime, text, timeText } from '../../schemas/schemas.ts';

/** Of what entries are searched by. */
const MAX_FILTER_LENGTH = 200;

const entryView = z
  .object({
    id: idText('auditEntry'),
    at: timeText,
    actor: z.string().meta({ description: 'Such as key:7, user:3 or "payout run".' }),
    action: z.string(),
    subject: z.string().meta({ description: 'Id of what was changed.' }),
    program_id: idText('program').nullable(),
    before: z.unknown().meta({ description: 'As it was; null where nothing was.' }),
    after: z.unknown(),
  })
  .meta({ id: 'AuditEntry' });

function formatEntry(entry: WrittenAuditEntry, principal: Principal): z.output<typeof entryView> {
  return {
    id: formatId('auditEntry', entry.id),
    at: formatTime(entry.at),
    actor: entry.actor,
    action: entry.action,
    subject: entry.subject,
    program_id: formatOptionalId('program', entry.programId),
    before: withSafeReason(entry.before, principal),
    after: entry.after,
  };
}

/** The reason of a conversion as it was is exact in the log; not all who read the log are to learn it. */
function withSafeReason(before: unknown, principal: Principal): unknown {
  const reason = z.object({ reason: z.enum(CONVERSION_REASONS) }).safeParse(before).data?.reason;
  return reason === undefined ? before : { ...(before as object), reason: reasonFor(principal, reason) };
}

export function addAuditLogRoutes(app: ApiServer, context: ApiContext): void {
  addList(app, context, {
    url: '/v1/audit-log',
    operationId: 'listAuditLog',
    tags: ['audit'],
    summary: 'Every change, the newest first: who, what, before, after',
    config: { roles: ['operator', 'finance', 'fraud'] },
    kind: 'auditEntry',
    list: AUDIT_LOG_LIST,
    filters: {
      program_id: integerId('program').optional(),
      actor: text(MAX_FILTER_LENGTH).optional(),
      action: text(MAX_FILTER_LENGTH).optional(),
      subject: text(MAX_FILTER_LENGTH).optional(),
      ...timeRange,
    },
    view: entryView,
    read: async (page, { sql, principal, query: { program_id, ...filters } }) =>
      await listAuditLog(sql, { ...page, ...filters, programId: programFilter(principal, program_id) }),
    format: (entries, principal) => entries.map((entry) => formatEntry(entry, principal)),
  });
}
