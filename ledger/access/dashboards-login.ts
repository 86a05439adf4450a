import { connectOwner } from '../postgres/db.ts';

/** The role of Grafana, which migrations make: it reads the views `grafana_*` and nothing else. */
export const DASHBOARDS_ROLE = 'afflux_grafana';

const CONNECTIONS = 8;
const STATEMENT_TIMEOUT = '30s';

/** What lets Grafana in, for the owner of the role; `password` has no quotation mark. */
export function dashboardsLoginStatements(password: string): string[] {
  return [
    `alter role ${DASHBOARDS_ROLE} login password '${password}' connection limit ${CONNECTIONS}`,
    `alter role ${DASHBOARDS_ROLE} set statement_timeout = '${STATEMENT_TIMEOUT}'`,
    `alter role ${DASHBOARDS_ROLE} set default_transaction_read_only = on`,
  ];
}

/** Lets Grafana in. @param url Of the owner of the schema. @throws OperatingError `postgres_unreachable`, `postgres_login`. */
export async function openDashboardsLogin(options: { url: string; password: string }): Promise<void> {
  const owner = await connectOwner({ url: options.url, name: 'afflux-grafana' });
  try {
    await owner.begin(async (tx) => {
      // The password does not belong into the server's log.
      await tx.unsafe(`set local log_statement = 'none'`);
      for (const statement of dashboardsLoginStatements(options.password)) await tx.unsafe(statement);
    });
  } finally {
    await owner.end();
  }
}
