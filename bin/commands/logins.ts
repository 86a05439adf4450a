import { analystLogin } from '../../core/config/analysts.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { metricsToken } from '../../core/service/metrics-access.ts';
import { analystUserStatements } from '../../warehouse/analysts/statements.ts';
import { readConfig } from '../environment.ts';
import { parseIntegerId } from '../ids.ts';
import { namingOptions } from '../input.ts';
import { renderTable } from '../table.ts';

/** What other programs log in with. */

/** `afflux metrics-token`: what Prometheus sends to read the metrics of every process. */
export function showMetricsToken(): void {
  process.stdout.write(`${metricsToken(createSecretBox(readConfig().dataKeys))}\n`);
}

/**
 * `afflux analyst`: how somebody reads ClickHouse who may read only; for a server of your own the statements that make
 * this user there. Printed here and not given out by the API: its reader is on the machine.
 */
export async function showAnalyst({ program }: { program?: string }): Promise<void> {
  const config = readConfig();
  const programId = program === undefined ? undefined : parseIntegerId('program', program);
  const login = await namingOptions({ program_id: '--program' }, async () => analystLogin(config, programId));
  const rows = [
    ['address', login.url],
    ['database', login.database],
    ['user', login.user],
    ['password', login.password],
  ];
  const lines = [renderTable(rows)];
  if (!config.embedded.clickhouse) {
    const statements = analystUserStatements({ ...login, programId }).map((statement) => `${statement};`);
    lines.push(
      '',
      '-- The server knows this user when an administrator has run:',
      ...statements,
      "-- SET … = DEFAULT undoes a limit of one query: the quota holds. EXPLAIN tells of all programs' rows below a view.",
    );
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
