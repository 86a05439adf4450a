import { applicationUrl } from '../../core/login.ts';
import { openPostgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { migrateLedger } from '../../ledger/postgres/migrate.ts';
import { APP_PASSWORD } from '../login.ts';

/** A tracking link of a benchmark. */
export interface BenchLink {
  readonly code: string;
  /** Has a query already, so a click id follows as `&click_id=`. */
  readonly landingUrl: string;
}

const CAMPAIGNS = 100;
const AFFILIATES = 1_000;
const LANDING_PAGES = 1_000;

/** The same links for every server that is compared. */
export function makeLinks(count: number): BenchLink[] {
  return Array.from({ length: count }, (_, i) => ({
    code: `l${((i + 1) * 7_919).toString(16)}`,
    landingUrl: `https://shop.example/landing/${i % LANDING_PAGES}?campaign=summer`,
  }));
}

/**
 * A ledger with these links, of 1,000 affiliates and 100 campaigns of one program. Returns the URL that processes log in
 * with. `ownerUrl` is a superuser's.
 */
export async function createLedgerLinks(ownerUrl: string, links: readonly BenchLink[]): Promise<string> {
  // ClickHouse is not needed here, and `afflux migrate` migrates both stores.
  const log = createLogger({ name: 'bench', level: 'error' });
  await migrateLedger({ url: ownerUrl, log, appPassword: APP_PASSWORD });
  const sql = openPostgres({ url: ownerUrl, max: 1, name: 'bench', as: 'owner' });
  await sql`insert into programs (name, currency) values ('Bench', 'EUR')`;
  await sql`insert into campaigns (program_id, name) select 1, 'Campaign ' || n from generate_series(1, ${CAMPAIGNS}::int) n`;
  await sql`insert into affiliates (program_id, ref_code, name, email, status)
    select 1, 'a' || n, 'Affiliate ' || n, n || '@affiliates.example', 'active' from generate_series(1, ${AFFILIATES}::int) n`;
  await sql`insert into links (code, program_id, campaign_id, affiliate_id, landing_url)
    select code, 1, 1 + n % ${CAMPAIGNS}, 1 + n % ${AFFILIATES}, landing_url
    from unnest(${links.map(({ code }) => code)}::text[], ${links.map(({ landingUrl }) => landingUrl)}::text[])
      with ordinality as link (code, landing_url, n)`;
  await sql.end();
  return applicationUrl(ownerUrl, APP_PASSWORD);
}
