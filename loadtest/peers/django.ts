import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromProject } from '../../core/config/paths.ts';
import { startMeasured } from '../collector/process.ts';
import { Missing, type OpenPeer, type PeerFixture } from './peer.ts';
import { clicksInPostgres, createDatabase } from './postgres-store.ts';
import { requireProgram } from './programs.ts';

const FOLDER = fromProject('loadtest/peers/django');
const ENVIRONMENT = fromProject('.afflux/peers-django');

/**
 * An open-source product that a package registry has: it looks a link up, adds one to its counter in the database,
 * and redirects. It knows how many clicks a link had, and nothing of any of them.
 */
export async function openDjango(fixture: PeerFixture): Promise<OpenPeer> {
  const python = await install(fixture);
  const databaseUrl = await createDatabase(fixture, 'django');
  const env = { DATABASE_URL: databaseUrl, PYTHONDONTWRITEBYTECODE: '1' };
  const script = join(FOLDER, 'serve.py');
  await promisify(execFile)(python, [script, 'migrate'], { env: { ...process.env, ...env } });
  const { sql, stores, logBytes, close } = clicksInPostgres(fixture, databaseUrl);
  await sql`insert into auth_user
      (username, password, is_superuser, is_staff, is_active, first_name, last_name, email, date_joined)
    values ('bench', '', false, false, true, '', '', '', now())`;
  await sql`insert into shortener_urlmap
      (user_id, full_url, short_url, usage_count, max_count, lifespan, date_created, date_expired)
    select (select id from auth_user), landing_url, code, 0, -1, -1, now(), now() + interval '100 years'
    from unnest(${fixture.links.map(({ code }) => code)}::text[],
      ${fixture.links.map(({ landingUrl }) => landingUrl)}::text[]) as link (code, landing_url)`;
  await sql.unsafe('analyze shortener_urlmap');
  return {
    stores,
    start: (port) =>
      startMeasured({
        command: [python, script, String(port)],
        env,
        // Its threads take turns anyway; on two cores they take 5 times as much CPU to do so.
        core: 0,
        url: `http://127.0.0.1:${port}/`,
      }),
    async count() {
      const [row] = await sql`select sum(usage_count)::int as clicks from shortener_urlmap`;
      return Number(row?.clicks);
    },
    bytes: () => Promise.resolve(0),
    logBytes,
    close,
  };
}

/** Into a virtual environment below .afflux, once. */
async function install({ mayInstall }: PeerFixture): Promise<string> {
  requireProgram('python3', '--version');
  const python = join(ENVIRONMENT, 'bin', 'python');
  if (existsSync(join(ENVIRONMENT, 'bin', 'waitress-serve'))) return python;
  if (!mayInstall) throw new Missing('python3', 'npm run bench:peers has not installed it yet');
  try {
    await promisify(execFile)('python3', ['-m', 'venv', '--clear', ENVIRONMENT]);
    await promisify(execFile)(python, ['-m', 'pip', 'install', '-q', '-r', join(FOLDER, 'requirements.txt')]);
  } catch (cause) {
    throw new Missing('python3', 'its packages cannot be installed with python3 -m venv and pip', { cause });
  }
  return python;
}
