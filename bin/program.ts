import { readFileSync } from 'node:fs';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { fromProject } from '../core/config/paths.ts';
import { ROLES, type Role } from '../ledger/access/api-keys.ts';
import { QUESTIONS } from './commands/init-questions.ts';
import type { GrafanaOptions } from './grafana/grafana.ts';
import { SERVICES } from './services.ts';

/** The command line. Every command loads what it needs when it runs, so that `--help` is quick. */
export function createProgram(): Command {
  const { version } = JSON.parse(readFileSync(fromProject('package.json'), 'utf8')) as { version: string };
  const program = new Command('afflux')
    .version(version)
    .description(
      'Affiliate program platform: no redirected click is lost, no click counts twice, every cent reconciles.',
    )
    .addHelpText(
      'after',
      `
Settings come from the environment and from .env in the project; .env.example lists them all. DATABASE_URL, CLICKHOUSE_URL
and NATS_URL name servers of your own; logins and certificates: "Servers of your own" in docs/operations.md.`,
    );
  addPlatformCommands(program);
  addGrafanaCommand(program);
  addInitCommand(program);
  addProgramCommands(program);
  addServiceCommands(program);
  addDemoCommand(program);
  addPayoutCommands(program);
  addRateCommands(program);
  addAuditCommand(program);
  addBackupCommands(program, version);
  addWarehouseCommands(program, version);
  addKeyCommands(program);
  addGeoCommands(program);
  addDeadLetterCommands(program);
  addEraseCommand(program);
  addUserCommands(program);
  return program;
}

function addPlatformCommands(program: Command): void {
  program
    .command('up')
    .summary('start the whole platform')
    .description(
      `Starts an embedded engine for each of DATABASE_URL, CLICKHOUSE_URL and NATS_URL that is not set, migrates both
stores, starts ${SERVICES.map(({ name }) => name).join(', ')}, and keeps them running until Ctrl-C. Data stay in AFFLUX_HOME.`,
    )
    .option(
      '--workers <number>',
      'collectors that share the port: one that ends takes no visitor along',
      parseCount,
    )
    .action(async ({ workers }: { workers?: number }) =>
      (await import('./supervisor/up.ts')).up({ workers }),
    );

  program
    .command('migrate')
    .summary('bring PostgreSQL and ClickHouse to the newest schema')
    .description(
      `Applies the migrations that are missing, in order; safe to run at any time and by several at once. "afflux up" does
it by itself; run it before starting processes one by one. Reads DATABASE_OWNER_URL, CLICKHOUSE_URL.`,
    )
    .action(async () => (await import('./commands/migrate.ts')).migrate());

  program
    .command('metrics-token')
    .summary('print the token by which Prometheus reads /metrics')
    .description(
      `Every process answers /metrics only to "Authorization: Bearer <token>". The token follows from DATA_KEYS, or from
AFFLUX_HOME/secrets.json; write it to a file that only Prometheus can read.`,
    )
    .action(async () => (await import('./commands/logins.ts')).showMetricsToken());

  program
    .command('analyst')
    .summary('print how Grafana, Metabase or a person reads ClickHouse')
    .description(
      `Prints address, database, user and password of an analyst, who only reads; for a ClickHouse server of your own also the
statements that make this user there. With --program the analyst sees that program alone.`,
    )
    .option('--program <id>', 'such as prg_1')
    .action(async (given: { program?: string }) => (await import('./commands/logins.ts')).showAnalyst(given));
}

function addGrafanaCommand(program: Command): void {
  program
    .command('grafana')
    .summary('give a Grafana the data sources, dashboards and alerts of this platform')
    .description(
      `Lets Grafana into the stores, and writes to AFFLUX_HOME/grafana what a new Grafana and a new Prometheus need, with the
commands of Docker that start them. With --folder it writes for a Grafana that is installed on this machine, with --url it
sets up one that runs, by its HTTP API. Safe to repeat. Reads GRAFANA_TOKEN, PORTAL_URL, MAIL_URL and the URLs of the stores.`,
    )
    .option('--folder <path>', 'the provisioning folder of Grafana, such as /etc/grafana/provisioning')
    .option(
      '--url <url>',
      'a Grafana that runs; GRAFANA_TOKEN is the token of a service account',
      parseHttpUrl,
    )
    .option('--prometheus <url>', 'a Prometheus that has the metrics already', parseHttpUrl)
    .option(
      '--mail <addresses>',
      'who gets the alerts by mail, with commas between; kept for the next run',
      parseAddresses,
    )
    .option('--no-mail', 'nobody gets them by mail any more')
    .option('--webhook <url>', 'what gets the alerts by HTTP; kept for the next run', parseHttpUrl)
    .option('--no-webhook', 'nothing gets them by HTTP any more')
    .action(async (options: GrafanaOptions) => (await import('./grafana/grafana.ts')).grafana(options));
}

function addInitCommand(program: Command): void {
  const init = program
    .command('init')
    .summary('set up a platform: the first operator, program, campaign and partner')
    .description(
      `Asks for what the options do not give; with --yes, or without a terminal, takes the defaults and leaves out what has
none. Makes all of it or nothing, keeps what exists, and prints a one-time link with which the operator sets a password,
and what is still missing. Safe to repeat. Reads DATABASE_URL, DATA_KEYS, PORTAL_URL, COLLECTOR_URL.`,
    )
    .option('--yes', 'ask nothing', false)
    .option('--link', 'make nothing, and print the link with which a browser sets the platform up', false);
  for (const { option, placeholder, text, fallback } of QUESTIONS) {
    init.option(
      `--${option} <${placeholder}>`,
      fallback === undefined ? text : `${text}; default ${fallback}`,
    );
  }
  init.action(async (given: Record<string, string | boolean>) => {
    const answers = QUESTIONS.flatMap(({ option }) => {
      const answer = given[option.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
      return typeof answer === 'string' ? [[option, answer] as const] : [];
    });
    const { init, printSetupLink } = await import('./commands/init.ts');
    if (given.link === true) return await printSetupLink();
    await init(Object.fromEntries(answers), { yes: given.yes === true });
  });
}

function addProgramCommands(program: Command): void {
  const programs = program
    .command('programs')
    .summary('affiliate programs')
    .description('Affiliate programs.');
  programs
    .command('add')
    .summary('create a program; its terms are set next')
    .requiredOption('--name <name>', 'the name of the shop')
    .requiredOption('--currency <code>', 'of every order, commission and payout; never changes')
    .option('--fallback-url <url>', 'where links lead that cannot lead on')
    .option('--tracking-domain <host>', 'host name of the links of this program')
    .action(
      async (given: { name: string; currency: string; fallbackUrl?: string; trackingDomain?: string }) =>
        (await import('./commands/programs.ts')).addProgram(given),
    );
  programs
    .command('list')
    .summary('one line each')
    .action(async () => (await import('./commands/programs.ts')).showPrograms());
  programs
    .command('show <id>')
    .summary('what a program has and lacks until its first partner is paid')
    .action(async (id: string) => (await import('./commands/programs.ts')).showProgram(id));
}

function addServiceCommands(program: Command): void {
  for (const service of SERVICES) {
    const command = program.command(service.name).summary(service.summary).description(service.help);
    if (service.name === 'collector') {
      command
        .option(
          '--workers <number>',
          'processes that share the port; SIGHUP replaces them one by one',
          parseCount,
        )
        .addOption(
          new Option('--slot <number>', 'the worker’s own state folder').argParser(Number).hideHelp(),
        );
    }
    if (service.name === 'attribution') addAttributionCommands(command);
    command.action(async (options: { workers?: number; slot?: number }) => {
      if (options.workers === undefined)
        await (await import('./supervisor/run-service.ts')).runService(service, options.slot);
      else await (await import('./supervisor/collector-workers.ts')).runCollectorWorkers(options.workers);
    });
  }
}

function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .summary('play traffic against the running platform and check that it adds up')
    .description(
      `Makes the demo program where there is no other, plays clicks of visitors from many countries, converts a share of them by postback, some of them fraudulently,
refunds, reviews, confirms and pays, and prints the trail from click to payout. Exit code 1 when it does not add up.`,
    )
    .option(
      '--clicks <number>',
      'how many clicks to play; 0 makes the demo program alone',
      parseClicks,
      20_000,
    )
    .action(async (options: { clicks: number }) => (await import('./demo/demo.ts')).demo(options));
}

function addPayoutCommands(program: Command): void {
  const payouts = program.command('payouts').summary('pay affiliates').description('Pays affiliates.');
  payouts
    .command('preview')
    .summary('what a run would pay now')
    .description(
      'Ends the holds that are over, builds the payouts that are due, rolls them back, and lists why the other affiliates would get none.',
    )
    .action(async () => (await import('./commands/payouts.ts')).showPreview());
  payouts
    .command('run')
    .summary('vest what is due, build the payouts that are due, hand them to the provider')
    .description(
      `Makes every commission whose hold has ended available, asks the provider for payouts whose outcome is unknown, builds one payout for
each active affiliate at or above its minimum, and hands them to PAYOUT_PROVIDER: a CSV file for the bank or PayPal in
AFFLUX_HOME/payouts, or Stripe. Writes off debt that is too old. The scheduler does it daily, see PAYOUT_HOUR;
repeated and concurrent runs are idempotent.`,
    )
    .action(async () => (await import('./commands/payouts.ts')).runPayoutsNow());
  payouts
    .command('return <ids...>')
    .summary('record that the money of paid payouts came back')
    .requiredOption('--reason <text>', 'the reason given by the bank')
    .action(async (ids: string[], options: { reason: string }) =>
      (await import('./commands/payouts.ts')).returnPayouts(ids, options),
    );
  payouts
    .command('mark-paid [ids...]')
    .summary('record that the money of submitted payouts has arrived')
    .description('Takes the ids of payouts (pay_1 pay_2 …), or --all for every submitted one.')
    .option('--all', 'every submitted payout', false)
    .action(async (ids: string[], options: { all: boolean }) =>
      (await import('./commands/payouts.ts')).markPayoutsPaid(ids, options),
    );
}

function addRateCommands(program: Command): void {
  const rates = program
    .command('rates')
    .summary('exchange rates for orders in other currencies')
    .description(
      'An order in another currency than its program is converted by the rate in force when it occurred.',
    );
  rates
    .command('load <file>')
    .summary("store the rates of a file: the European Central Bank's, or one of your own")
    .description(
      `Takes eurofxref.csv or eurofxref-hist.csv of the European Central Bank, whose rates are in force from the day after
their date (UTC) for a week, or a CSV with the columns base, quote, rate, source, valid_from and, if you like,
valid_until. Stores all rates of the file or none; rates that are stored already are kept. Load it daily.`,
    )
    .option('--from <date>', 'leave out what is older, such as 2026-01-01', parseTime)
    .action(async (file: string, options: { from?: Date }) =>
      (await import('./commands/rates.ts')).loadRates(file, options),
    );
  rates
    .command('add <base> <quote> <rate>')
    .summary('store one rate, in force until a later one: afflux rates add USD EUR 0.92 --source contract')
    .requiredOption('--source <text>', 'where the rate comes from')
    .option('--from <time>', 'in force from; by default from now on', parseTime)
    .action(async (base: string, quote: string, rate: string, options: { source: string; from?: Date }) =>
      (await import('./commands/rates.ts')).addRate({ base, quote, rate, ...options }),
    );
  rates
    .command('list')
    .summary('the newest rates with their sources')
    .option('--base <currency>')
    .option('--quote <currency>')
    .action(async (options: { base?: string; quote?: string }) =>
      (await import('./commands/rates.ts')).showRates(options),
    );
}

function addAuditCommand(program: Command): void {
  program
    .command('audit')
    .summary('check the counts and the books')
    .description(
      `Compares, for every node lease, the clicks given out with the rows stored (the gap report), raw rows with rollups,
the loader with its stream, and the ledger from its entries up. Exit code 1 when a check fails.`,
    )
    .option('--json', 'print the report as JSON', false)
    .action(async (options: { json: boolean }) => (await import('./commands/audit.ts')).audit(options));
}

function addBackupCommands(program: Command, version: string): void {
  const backup = program
    .command('backup')
    .summary('save the whole platform, check a backup, restore it')
    .description(
      'A folder with PostgreSQL, ClickHouse, the clicks that wait in NATS, files and secrets, which fit each other (docs/backup.md).',
    );
  const passphrase = [
    '--passphrase-file <file>',
    'a file with the passphrase; else it is asked for',
  ] as const;
  backup
    .command('create <folder>')
    .summary('make a backup in a new folder; the platform may run')
    .description(
      `Writes everything into <folder>.unfinished, which gets its name once it is whole. Clicks and orders go on; the loader stands
still for some seconds. Reads DATABASE_OWNER_URL, CLICKHOUSE_URL, NATS_URL; embedded engines that do not run are started for it.`,
    )
    .option(...passphrase)
    .option('--without-secrets', 'leave out keys, passwords and payment files')
    .action(async (folder: string, given: { passphraseFile?: string; withoutSecrets?: boolean }) =>
      (await import('./backup/backup.ts')).createBackupCommand(folder, {
        ...given,
        version,
        secrets: given.withoutSecrets !== true,
      }),
    );
  backup
    .command('verify <folder>')
    .summary('check that every byte of a backup is what was written')
    .description(
      'Needs no platform. With --deep it also restores the backup into engines of its own, in a folder that it removes after it, and runs the audit there. Exit code 1 when something is wrong.',
    )
    .option('--deep', 'restore it beside, and audit that', false)
    .option('--scratch <folder>', 'where --deep restores; default: the folder for temporary files')
    .option(...passphrase)
    .action(
      async (folder: string, given: { deep: boolean; scratch?: string; passphraseFile?: string }) =>
        await (await import('./backup/backup.ts')).verifyBackupCommand(folder, given),
    );
  backup
    .command('restore <folder>')
    .summary('make the platform again, in an empty data folder and empty stores')
    .description(
      `Refuses whatever holds data. A restore that was ended goes on when it is run again; until it is whole nothing starts on the
data folder. Reads AFFLUX_HOME, DATABASE_OWNER_URL, CLICKHOUSE_URL, NATS_URL.`,
    )
    .option(...passphrase)
    .action(async (folder: string, given: { passphraseFile?: string }) =>
      (await import('./backup/backup.ts')).restoreBackupCommand(folder, given),
    );
  addSettleCommand(backup);
}

function addSettleCommand(backup: Command): void {
  backup
    .command('settle')
    .summary('after PostgreSQL was restored by its own tools: make the other stores fit')
    .description(
      `"restore" does it by itself. Payouts that can have been paid since then are asked at the provider, runs wait for a second person,
sessions end, no id comes again, and ClickHouse forgets what it copied of later rows. All processes must be stopped. Reads
DATABASE_OWNER_URL, CLICKHOUSE_URL.`,
    )
    .requiredOption('--at <time>', 'the moment that PostgreSQL was restored to', parseTime)
    .action(async (given: { at: Date }) => (await import('./backup/backup.ts')).settleCommand(given));
}

function addWarehouseCommands(program: Command, version: string): void {
  const warehouse = program
    .command('warehouse')
    .summary('ClickHouse, embedded or your own: its account, and moving the clicks to another one');
  warehouse
    .command('export <folder>')
    .summary('write Parquet files of every table and month, with their sums')
    .option(
      '--from <month>',
      'the first month, such as 2026-01; clicks and rollups by month alone',
      parseMonth,
    )
    .option('--to <month>', 'the last month', parseMonth)
    .action(async (folder: string, given: { from?: string; to?: string }) =>
      (await import('./backup/warehouse.ts')).exportWarehouse(folder, { ...given, version }),
    );
  warehouse
    .command('import <folder>')
    .summary('bring an export into the ClickHouse of CLICKHOUSE_URL, each month wholly or not at all')
    .description(
      `Compares rows and sums with those of the export, and refuses months that hold other clicks. What an earlier run has brought is
recognised, so that it can be run again. Stop loader, attribution and scheduler before the export, and start them after it.`,
    )
    .action(async (folder: string) => (await import('./backup/warehouse.ts')).importWarehouse(folder));
  warehouse
    .command('credentials')
    .summary('give the dictionaries the user and password of CLICKHOUSE_URL')
    .description(
      `Dictionaries of countries and networks read their tables under the account that made them. Run it when that has a new
password, while the old one is still valid or at once after: clicks cannot be stored without the dictionaries. On a cluster it
is done on every server. Safe to repeat. Reads CLICKHOUSE_URL, CLICKHOUSE_CLUSTER.`,
    )
    .action(async () => (await import('./commands/migrate.ts')).renewCredentials());
}

function addKeyCommands(program: Command): void {
  const keys = program
    .command('keys')
    .summary('keys of the API; without a command, the fingerprints of the platform’s own keys')
    .description(
      `add, list and revoke are about keys of the API. Without a command it lists the platform’s own keys that something was made
with: of click ids, of encrypted values, of signed counts. A process that lacks one of them does not start. Reads
DATABASE_URL, CLICK_KEYS, DATA_KEYS.`,
    )
    .action(async () => (await import('./commands/keys.ts')).showKeys());
  keys
    .command('add')
    .summary('create a key of the API and print it, once')
    .addOption(roleOption())
    .requiredOption('--name <name>', 'what it is for')
    .option('--program <id>', 'such as prg_1; without one an operator’s key opens every program')
    .option('--affiliate <id>', 'such as aff_1: for the role affiliate')
    .option('--scopes <scopes>', 'narrows it, such as conversions:read,reports:read', parseList)
    .option('--expires <time>', 'such as 2027-01-01; by default never', parseTime)
    .action(
      async (given: {
        role: Role;
        name: string;
        program?: string;
        affiliate?: string;
        scopes?: readonly string[];
        expires?: Date;
      }) => (await import('./commands/api-keys.ts')).addApiKey(given),
    );
  keys
    .command('list')
    .summary('the keys of the API, one line each, without what is secret of them')
    .option('--program <id>', 'of one program only, such as prg_1')
    .action(async (options: { program?: string }) =>
      (await import('./commands/api-keys.ts')).showApiKeys(options),
    );
  keys
    .command('revoke <id>')
    .summary('end a key of the API, such as key_1, at once and for ever')
    .action(async (id: string) => (await import('./commands/api-keys.ts')).revokeApiKey(id));
  keys
    .command('forget')
    .summary('let processes start without a key, once nothing that it made is needed')
    .addArgument(new Argument('<kind>').choices(['click', 'data', 'count']))
    .argument('<fingerprint>')
    .action(async (kind: 'click' | 'data' | 'count', fingerprint: string) =>
      (await import('./commands/keys.ts')).forgetKey(kind, fingerprint),
    );
}

function addGeoCommands(program: Command): void {
  const geo = program
    .command('geo')
    .summary('the lists of networks: the country of each, and whose it is')
    .description(
      'Clicks get both from these lists when they are stored; those stored before keep what they have.',
    );
  geo
    .command('load')
    .summary('load the shipped lists, or MaxMind databases')
    .option('--countries <path>', 'a .mmdb file such as GeoLite2-Country.mmdb')
    .option('--owners <path>', 'a .mmdb file such as GeoLite2-ASN.mmdb')
    .action(async (files: { countries?: string; owners?: string }) =>
      (await import('./commands/geo.ts')).loadNetworks(files),
    );
  geo
    .command('show')
    .summary('what is loaded')
    .action(async () => (await import('./commands/geo.ts')).showNetworks());
}

function addDeadLetterCommands(program: Command): void {
  const deadLetters = program
    .command('deadletters')
    .summary('batches of clicks that could not be loaded')
    .description(
      'Shows batches that were set aside with their original bytes, and puts them back into the stream.',
    );
  deadLetters
    .command('list')
    .summary('one line each')
    .action(async () => (await import('./commands/deadletters.ts')).listDeadLetters());
  deadLetters
    .command('show <id>')
    .summary('headers and bytes of one')
    .action(async (id: string) => (await import('./commands/deadletters.ts')).showDeadLetter(id));
  deadLetters
    .command('replay [ids...]')
    .summary('put them back into the stream; clicks that are loaded already are recognised')
    .option('--all', 'every complete one', false)
    .action(async (ids: string[], options: { all: boolean }) =>
      (await import('./commands/deadletters.ts')).replayDeadLetters(ids, options),
    );
}

function addEraseCommand(program: Command): void {
  program
    .command('erase')
    .summary('remove the data of a person, and check it')
    .description(
      `Removes personal data from clicks, velocity, mirror and orders; counts and books stay. Prints how many rows were found
and how many are left; exit code 1 when any is. Reads DATABASE_URL, CLICKHOUSE_URL.`,
    )
    .option('--ip <address>', 'everything that came from this address')
    .option(
      '--customer <id>',
      "a shop's customer, by its id, e-mail address or sha256: hash: the orders, and all that came from their addresses",
    )
    .option(
      '--affiliate <id>',
      'a terminated affiliate with nothing unpaid, whose statements are made; its books stay under its id',
    )
    .action(async (options: { ip?: string; customer?: string; affiliate?: string }) =>
      (await import('./commands/erase.ts')).erase(options),
    );
}

function addUserCommands(program: Command): void {
  const users = program.command('users').summary('users of the portal').description('Users of the portal.');
  users
    .command('add')
    .summary('create a user and print the one-time link that sets the password')
    .requiredOption('--email <address>', 'with which the user signs in')
    .requiredOption('--name <name>', 'of the person')
    .addOption(roleOption())
    .option(
      '--program <id>',
      'such as prg_1; without one an operator, finance or fraud user sees every program',
    )
    .option('--affiliate <id>', 'such as aff_1: for the role affiliate')
    .action(
      async (given: { email: string; name: string; role: Role; program?: string; affiliate?: string }) =>
        (await import('./commands/users.ts')).addUser(given),
    );
  users
    .command('list')
    .summary('one line each')
    .action(async () => (await import('./commands/users.ts')).showUsers());
  users
    .command('invite <email>')
    .summary('print a new one-time link, for a user who has lost the first one or the password')
    .action(async (email: string) => (await import('./commands/users.ts')).inviteUser(email));
  users
    .command('disable <email>')
    .summary('end every session of a user and refuse new ones; its keys end too')
    .action(async (email: string) => (await import('./commands/users.ts')).setUserStatus(email, 'disabled'));
  users
    .command('enable <email>')
    .summary('let a disabled user sign in again')
    .action(async (email: string) => (await import('./commands/users.ts')).setUserStatus(email, 'active'));
  users
    .command('reset-second-factor <email>')
    .summary('for a user who lost the authenticator app and the recovery codes')
    .description(
      `Removes the second factor and ends every session of the user, who signs in with the password alone then. Make sure
that it is the user who asks. Written to the audit log. Reads DATABASE_URL.`,
    )
    .action(async (email: string) => (await import('./commands/users.ts')).resetSecondFactor(email));
}

function addAttributionCommands(attribution: Command): void {
  attribution
    .command('explain <conversion>')
    .summary('explain in sentences how a conversion was decided')
    .description(
      'Prints what was stored with the decision: clicks, terms, every rule, commissions. Reads DATABASE_URL.',
    )
    .action(async (id: string) => (await import('./commands/attribution.ts')).explain(id));
  attribution
    .command('replay')
    .summary('repeat decisions and print the differences; writes nothing')
    .description(
      `Under the same rules nothing changes. With --model the clicks are chosen by the other model, and the difference is
printed in money. Reads DATABASE_URL, CLICKHOUSE_URL, CLICK_KEYS.`,
    )
    .requiredOption('--from <time>', 'received at or after, such as 2026-11-01', parseTime)
    .requiredOption('--to <time>', 'received before', parseTime)
    .addOption(
      new Option('--model <model>', 'instead of the model of the terms').choices([
        'first_click',
        'last_click',
      ]),
    )
    .option('--program <id>', 'of one program only, such as prg_1')
    .action(
      async (options: { from: Date; to: Date; model?: 'first_click' | 'last_click'; program?: string }) =>
        (await import('./commands/attribution.ts')).replayDecisions(options),
    );
}

function roleOption(): Option {
  return new Option('--role <role>', 'what it may do').choices(ROLES).makeOptionMandatory();
}

function parseList(text: string): readonly string[] {
  return text.split(',').map((part) => part.trim());
}

function parseAddresses(text: string): readonly string[] {
  const addresses = parseList(text);
  if (addresses.every((address) => /^[^\s@;]+@[^\s@;]+$/.test(address))) return addresses;
  throw new InvalidArgumentError('must be e-mail addresses with commas between.');
}

function parseHttpUrl(text: string): string {
  if (URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol)) return text;
  throw new InvalidArgumentError('must be a URL starting with http:// or https://.');
}

/** As ClickHouse names the partition of a month: `202601`. */
function parseMonth(text: string): string {
  if (/^\d{4}-(0[1-9]|1[0-2])$/.test(text)) return text.replace('-', '');
  throw new InvalidArgumentError('must be a month such as 2026-01.');
}

function parseTime(text: string): Date {
  const time = new Date(text);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError('must be a time such as 2026-11-01 or 2026-11-01T12:00:00Z.');
}

function parseClicks(text: string): number {
  return text === '0' ? 0 : parseCount(text);
}

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new InvalidArgumentError('must be a whole number above 0.');
}
