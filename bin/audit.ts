import type { Config } from '../core/config.ts';
import { connectNats } from '../core/stream.ts';
import { auditLedger } from '../ledger/audit.ts';
import { connectLedger } from '../ledger/db.ts';
import { auditWarehouse } from '../warehouse/audit.ts';
import { connectWarehouse } from '../warehouse/client.ts';
import { readWatermark } from '../warehouse/watermark.ts';
import { readConfig } from './environment.ts';
import { renderTable } from './table.ts';

/** One proof of the counts or of the books. */
interface AuditCheck {
  readonly store: 'clicks' | 'ledger';
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** What `afflux audit --json` prints. */
export interface AuditReport {
  readonly ok: boolean;
  readonly at: string;
  /** Every click older than this was compared; null before the first. */
  readonly complete_to: string | null;
  readonly checks: readonly AuditCheck[];
}

/** `afflux audit`: prints the gap report of the clicks and the proof of the ledger; exit code 1 when anything is off. */
export async function audit(options: { json: boolean }): Promise<void> {
  const report = await runAudit(readConfig());
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : `${describe(report)}\n`);
  if (!report.ok) process.exitCode = 1;
}

/** Every check of both stores; may run while the platform works. */
export async function runAudit(config: Config): Promise<AuditReport> {
  const nc = await connectNats({ url: config.natsUrl, name: 'afflux-audit' });
  const warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'afflux-audit' });
  const ledger = await connectLedger({ url: config.databaseUrl, max: 1, name: 'afflux-audit' });
  try {
    const completeTo = await readWatermark(warehouse);
    const clicks = await auditWarehouse({ warehouse, nc });
    const books = await auditLedger(ledger);
    const checks = [
      ...clicks.map(({ name, ok, detail }) => ({ store: 'clicks' as const, name, ok, detail })),
      ...books.map(({ name, ok, detail }) => ({ store: 'ledger' as const, name, ok, detail })),
    ];
    return {
      ok: checks.every((check) => check.ok),
      at: new Date().toISOString(),
      complete_to: completeTo === undefined ? null : new Date(completeTo).toISOString(),
      checks,
    };
  } finally {
    await Promise.all([nc.close(), warehouse.close(), ledger.end()]);
  }
}

function describe(report: AuditReport): string {
  const rows = report.checks.map(({ store, name, ok, detail }) => [ok ? 'ok' : 'OFF', store, name, detail]);
  const verdict = report.ok ? 'Everything adds up.' : 'Something is off: see the lines marked OFF.';
  return `${renderTable(rows)}\n\n${verdict} Clicks complete to ${report.complete_to ?? 'nothing yet'}.`;
}
