import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { connectOwner } from '../postgres/db.ts';

/** The role of Grafana, which migrations make: it reads the views `grafana_*` and nothing else. */
export const DASHBOARDS_ROLE = 'afflux_grafana';

const CONNECTIONS = 8;
const STATEMENT_TIMEOUT = '30s';

/** PostgreSQL's own number. */
const SCRAM_ITERATIONS = 4096;

/**
 * What PostgreSQL keeps of a password: given this it never sees the password, which neither a log nor a list of statements can show
 * then. `password`: ASCII, which needs no normalising.
 */
function scramVerifier(password: string): string {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, SCRAM_ITERATIONS, 32, 'sha256');
  const keyOf = (name: string): Buffer => createHmac('sha256', salted).update(name).digest();
  const storedKey = createHash('sha256').update(keyOf('Client Key')).digest('base64');
  return `SCRAM-SHA-256$${SCRAM_ITERATIONS}:${salt.toString('base64')}$${storedKey}:${keyOf('Server Key').toString('base64')}`;
}

/** What lets Grafana in, for the owner of the role; `password`: ASCII. */
export function dashboardsLoginStatements(password: string): string[] {
  return [
    `alter role ${DASHBOARDS_ROLE} login password '${scramVerifier(password)}' connection limit ${CONNECTIONS}`,
    `alter role ${DASHBOARDS_ROLE} set statement_timeout = '${STATEMENT_TIMEOUT}'`,
    `alter role ${DASHBOARDS_ROLE} set default_transaction_read_only = on`,
  ];
}

/** Lets Grafana in. @param url Of the owner of the schema. @throws OperatingError `postgres_unreachable`, `postgres_login`. */
export async function openDashboardsLogin(options: { url: string; password: string }): Promise<void> {
  const owner = await connectOwner({ url: options.url, name: 'afflux-grafana' });
  try {
    await owner.begin(async (tx) => {
      for (const statement of dashboardsLoginStatements(options.password)) await tx.unsafe(statement);
    });
  } finally {
    await owner.end();
  }
}
