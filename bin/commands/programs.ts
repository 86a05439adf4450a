import { formatId } from '../../api/schemas/ids.ts';
import { OperatingError } from '../../core/errors.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { createPayoutProvider } from '../../ledger/payouts/providers/index.ts';
import { type DatabaseSql, inTransaction } from '../../ledger/postgres/db.ts';
import { createProgram, getProgram, listPrograms, type Program } from '../../ledger/programs/programs.ts';
import { type SetupStepName, setupSteps } from '../../ledger/setup/steps.ts';
import { allRows } from '../all-rows.ts';
import { readConfig } from '../environment.ts';
import { parseIntegerId } from '../ids.ts';
import { namingOptions } from '../input.ts';
import { withLedger } from '../stores.ts';
import { renderTable } from '../table.ts';

const NAME = 'afflux-programs';
const OPTIONS = {
  name: '--name',
  currency: '--currency',
  fallback_url: '--fallback-url',
  tracking_domain: '--tracking-domain',
};

/** `afflux programs add`: makes a program and prints what it lacks. */
export async function addProgram(given: {
  name: string;
  currency: string;
  fallbackUrl?: string;
  trackingDomain?: string;
}): Promise<void> {
  await withLedger(NAME, async (ledger) => {
    const program = await namingOptions(OPTIONS, () =>
      inTransaction(ledger, async (tx) => {
        const made = await createProgram(tx, { ...given, currency: given.currency.toUpperCase() });
        const { id, name, currency, fallbackUrl, trackingDomain } = made;
        const after = { name, currency, fallback_url: fallbackUrl, tracking_domain: trackingDomain };
        const subject = formatId('program', id);
        await appendAuditLog(tx, { actor: 'command line', action: 'program.create', subject, after });
        return made;
      }),
    );
    process.stdout.write(`${formatId('program', program.id)} ${program.name} is made.\n\n`);
    process.stdout.write(`${await describeSteps(ledger, program)}\n`);
  });
}

/** `afflux programs list`: one line each. */
export async function showPrograms(): Promise<void> {
  await withLedger(NAME, async (ledger) => {
    const programs = await allRows((request) => listPrograms(ledger, request));
    const rows = programs.map(({ id, name, currency, status }) => [
      formatId('program', id),
      name,
      currency,
      status,
    ]);
    process.stdout.write(rows.length > 0 ? `${renderTable(rows)}\n` : 'There are no programs.\n');
  });
}

/** `afflux programs show`: what a program has and lacks until its first partner is paid. */
export async function showProgram(text: string): Promise<void> {
  const id = parseIntegerId('program', text);
  await withLedger(NAME, async (ledger) => {
    const program = await getProgram(ledger, id);
    if (!program) throw new OperatingError('not_found', `there is no program ${text}`);
    const { name, currency, status } = program;
    process.stdout.write(
      `${text} ${name}, ${currency}, ${status}\n\n${await describeSteps(ledger, program)}\n`,
    );
  });
}

/** The steps of a program's setup with the way to do what is missing. */
export async function describeSteps(sql: DatabaseSql, program: Program): Promise<string> {
  const config = readConfig();
  const steps = await setupSteps(sql, program, {
    payoutProvider: createPayoutProvider(config),
    sendsMails: config.mailUrl !== '',
  });
  const portal = `${config.portalUrl}/portal`;
  const id = formatId('program', program.id);
  const ways: Readonly<Record<SetupStepName, string>> = {
    terms: `${portal}/terms`,
    campaign: `${portal}/campaigns`,
    affiliate: `${portal}/affiliates`,
    link: `${portal}/links`,
    shop_key: `npx afflux keys add --role advertiser --program ${id} --name shop`,
    first_call: 'docs/first-hour.md, "The first order"',
    payout_provider: `PAYOUT_PROVIDER in .env, which is ${config.payoutProvider}`,
    payout_hold: `${portal}/payouts`,
    mail: 'MAIL_URL in .env',
  };
  return renderTable(
    steps.map(({ name, text, required, done }) =>
      done ? ['done', text] : [required ? 'missing' : 'advised', text, ways[name]],
    ),
  );
}
