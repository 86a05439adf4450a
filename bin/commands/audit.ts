import { auditStores } from '../../attribution/tools/audit.ts';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import { connectNats } from '../../core/clicks/stream.ts';
import type { Config } from '../../core/config/config.ts';
import { clickhouseServer, natsServer } from '../../core/config/servers.ts';
import { openCountKey } from '../../core/keys/count-key.ts';
import { verifyPlatformKeys } from '../../core/keys/platform-keys.ts';
import { type AuditCheck, recordAuditChecks } from '../../ledger/audit/checks.ts';
import { paymentFolder } from '../../ledger/payouts/providers/index.ts';
import { connectDatabase } from '../../ledger/postgres/db.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { readConfig } from '../environment.ts';
import { renderTable } from '../table.ts';

/** What `afflux audit --json` prints. */
export interface AuditReport {
  readonly ok: boolean;
  readonly at: string;
  /** Every click older than this was compared; null before the first. */
  readonly complete_to: string | null;
  readonly checks: readonly AuditCheck[];
  /** What no promise hangs on, in words: clocks that are off. */
  readonly warnings: readonly string[];
}

/** `afflux audit`: checks the promises and prints the results; exit code 1 when a check fails. */
export async function audit(options: { json: boolean }): Promise<void> {
  const report = await runAudit(readConfig());
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : `${describe(report)}\n`);
  if (!report.ok) process.exitCode = 1;
}

/** Runs every audit check and keeps the results for dashboards and /v1/audit; may run while the platform works. */
export async function runAudit(config: Config): Promise<AuditReport> {
  const nc = await connectNats({ ...natsServer(config), name: 'afflux-audit' });
  const warehouse = await connectWarehouse({ ...clickhouseServer(config), name: 'afflux-audit' });
  const ledger = await connectDatabase({ url: config.databaseUrl, max: 2, name: 'afflux-audit' });
  try {
    await verifyPlatformKeys(ledger, [{ kind: 'click', keys: config.clickKeys }]);
    const countKey = await openCountKey({ home: config.home, sql: ledger });
    const clickIds = createClickIdCodec(config.clickKeys);
    const result = await auditStores({
      nc,
      warehouse,
      ledger,
      clickIds,
      countKey,
      paymentFolder: paymentFolder(config),
    });
    const at = new Date();
    await recordAuditChecks(ledger, at, result.checks);
    return {
      ok: result.ok,
      at: at.toISOString(),
      complete_to: result.completeTo?.toISOString() ?? null,
      checks: result.checks,
      warnings: result.warnings,
    };
  } finally {
    await Promise.all([nc.close(), warehouse.close(), ledger.end()]);
  }
}

/** The report in words. */
export function describe(report: AuditReport): string {
  const rows = report.checks.map(({ store, name, ok, detail }) => [
    ok ? 'ok' : 'FAILED',
    store,
    name,
    detail,
  ]);
  const failed = report.checks.filter(({ ok }) => !ok).length;
  const conclusion = report.ok
    ? 'Everything adds up.'
    : `${failed} checks failed: see the lines marked FAILED.`;
  const warnings = report.warnings.map((warning) => `WARNING: ${warning}; set it by NTP.\n`).join('');
  return `${renderTable(rows)}\n\n${warnings}${conclusion} Clicks complete to ${report.complete_to ?? 'nothing yet'}.`;
}
