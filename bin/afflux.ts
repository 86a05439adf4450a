#!/usr/bin/env node
import { Command } from 'commander';
import { errorText, OperatingError } from '../core/errors.ts';
import { SERVICES } from './services.ts';

/** The command line. Every command loads what it needs when it runs, so that `--help` is quick. */
const program = new Command('afflux')
  .description(
    'Affiliate-programme platform: no redirected click is lost, no click counts twice, every cent reconciles.',
  )
  .addHelpText(
    'after',
    '\nSettings come from the environment and from .env in the project; .env.example lists them all.',
  );

program
  .command('up')
  .summary('start the whole platform')
  .description(
    `Starts an embedded engine for each of DATABASE_URL, CLICKHOUSE_URL and NATS_URL that is not set, migrates both
stores, starts ${SERVICES.map(({ name }) => name).join(', ')}, and keeps them running until Ctrl-C. Data stay in AFFLUX_HOME.`,
  )
  .action(async () => (await import('./up.ts')).up());

program
  .command('migrate')
  .summary('bring PostgreSQL and ClickHouse to the newest schema')
  .description(
    `Applies the migrations that are missing, in order; safe to run at any time and by several at once. "afflux up" does
it by itself; run it before starting processes one by one. Reads DATABASE_URL (the schema's owner), CLICKHOUSE_URL.`,
  )
  .action(async () => (await import('./migrate.ts')).migrate());

for (const service of SERVICES) {
  program
    .command(service.name)
    .summary(service.summary)
    .description(service.help)
    .action(async () => (await import('./run-service.ts')).runService(service));
}

try {
  await program.parseAsync();
} catch (error) {
  const isOperating = error instanceof OperatingError;
  process.stderr.write(`${isOperating ? `afflux: ${errorText(error)}` : (error as Error).stack}\n`);
  process.exitCode = 1;
}
