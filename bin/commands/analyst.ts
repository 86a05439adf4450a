import { analystLogin } from '../../core/config/analysts.ts';
import { analystUserStatements } from '../../warehouse/analysts/statements.ts';
import { readConfig } from '../environment.ts';
import { parseIntegerId } from '../ids.ts';
import { renderTable } from '../table.ts';

/**
 * `afflux analyst`: how somebody reads ClickHouse who may read only; for a server of your own the statements that make
 * this user there. Printed here and not given out by the API: whoever sees it is on the machine.
 */
export function showAnalyst({ program }: { program?: string }): void {
  const config = readConfig();
  const programId = program === undefined ? undefined : parseIntegerId('program', program);
  const login = analystLogin(config, programId);
  const rows = [
    ['address', login.url],
    ['database', login.database],
    ['user', login.user],
    ['password', login.password],
  ];
  const lines = [renderTable(rows)];
  if (!config.embedded.clickhouse) {
    const statements = analystUserStatements({ ...login, programId }).map((statement) => `${statement};`);
    lines.push('', '-- The server knows this user when an administrator has run:', ...statements);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
