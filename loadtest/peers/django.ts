import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromProject } from '../../core/config/paths.ts';
import type { Postgres } from '../../core/postgres/postgres.ts';
import { startMeasured } from '../collector/process.ts';
import { Missing, type OpenPeer, type PeerFixture } from './peer.ts';
import { clicksInPostgres, createDatabase } from './postgres-store.ts';
import { requireProgram } from './programs.ts';

const FOLDER = fromProject('loadtest/peers/django');
const ENVIRONMENT = fromProject('.afflux/peers-django');

/**
 * Open-source products that a package registry has. Both look a link up in the database, write there, and redirect:
 * `shortener` (django-link-shortener) adds one to the link's counter and knows nothing of any click; `clickify`
 * (django-clickify) inserts a row a click with address, browser and the parameter `ref`.
 */
export async function openDjango(fixture: PeerFixture, app: 'shortener' | 'clickify'): Promise<OpenPeer> {
  const python = await install(fixture);
  const databaseUrl = await createDatabase(fixture, `django_${app}`);
  const env = { DATABASE_URL: databaseUrl, PYTHONDONTWRITEBYTECODE: '1' };
  const serve = [python, join(FOLDER, 'serve.py'), app] as const;
  await promisify(execFile)(python, [...serve.slice(1), 'migrate'], { env: { ...process.env, ...env } });
  const { sql, stores, logBytes, close } = clicksInPostgres(fixture, databaseUrl);
  const shared = {
    stores,
    start: (port: number) =>
      startMeasured({
        command: [...serve, String(port)],
        env,
        // Its threads take turns anyway; on two cores they take 5 times as much CPU to do so.
        core: 0,
        url: `http://127.0.0.1:${port}/`,
      }),
    logBytes,
    close,
  };
  return { ...shared, ...(await (app === 'clickify' ? clickify(sql, fixture) : shortener(sql, fixture))) };
}

type Stored = Pick<OpenPeer, 'count' | 'visits' | 'bytes'>;

async function shortener(sql: Postgres, { links }: PeerFixture): Promise<Stored> {
  await sql`insert into auth_user
      (username, password, is_superuser, is_staff, is_active, first_name, last_name, email, date_joined)
    values ('bench', '', false, false, true, '', '', '', now())`;
  await sql`insert into shortener_urlmap
      (user_id, full_url, short_url, usage_count, max_count, lifespan, date_created, date_expired)
    select (select id from auth_user), landing_url, code, 0, -1, -1, now(), now() + interval '100 years'
    from unnest(${links.map(({ code }) => code)}::text[],
      ${links.map(({ landingUrl }) => landingUrl)}::text[]) as link (code, landing_url)`;
  await sql.unsafe('analyze shortener_urlmap');
  return {
    async count() {
      const [row] = await sql`select sum(usage_count)::int as clicks from shortener_urlmap`;
      return Number(row?.clicks);
    },
    bytes: () => Promise.resolve(0),
  };
}

async function clickify(sql: Postgres, { links }: PeerFixture): Promise<Stored> {
  await sql`insert into clickify_trackedlink (id, name, slug, target_url, created_at, updated_at)
    select gen_random_uuid(), code, code, landing_url, now(), now()
    from unnest(${links.map(({ code }) => code)}::text[],
      ${links.map(({ landingUrl }) => landingUrl)}::text[]) as link (code, landing_url)`;
  await sql.unsafe('analyze clickify_trackedlink');
  return {
    async count() {
      const [row] = await sql`select count(*)::int as clicks from clickify_clicklog`;
      return Number(row?.clicks);
    },
    async visits() {
      const rows = await sql`select ref::int as visit from clickify_clicklog where ref <> ''`;
      return rows.map((row) => Number(row.visit));
    },
    async bytes() {
      const [row] = await sql`select pg_total_relation_size('clickify_clicklog')::float8 as bytes`;
      return Number(row?.bytes);
    },
  };
}

/** Into a virtual environment below .afflux, once for a list of packages. */
async function install({ mayInstall }: PeerFixture): Promise<string> {
  requireProgram('python3', '--version');
  const python = join(ENVIRONMENT, 'bin', 'python');
  const installed = join(ENVIRONMENT, 'requirements.txt');
  const requirements = join(FOLDER, 'requirements.txt');
  const wanted = readFileSync(requirements, 'utf8');
  if (existsSync(installed) && readFileSync(installed, 'utf8') === wanted) return python;
  if (!mayInstall) throw new Missing('python3', 'npm run bench:peers has not installed it yet');
  try {
    await promisify(execFile)('python3', ['-m', 'venv', '--clear', ENVIRONMENT]);
    // The list is whole: a package that it lacks is not installed, and then missed by the check.
    await promisify(execFile)(python, ['-m', 'pip', 'install', '-q', '--no-deps', '-r', requirements]);
    await promisify(execFile)(python, ['-m', 'pip', 'check']);
    writeFileSync(installed, wanted);
  } catch (cause) {
    throw new Missing('python3', 'its packages cannot be installed with python3 -m venv and pip', { cause });
  }
  return python;
}
