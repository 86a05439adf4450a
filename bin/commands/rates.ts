import { readFile } from 'node:fs/promises';
import { errorText, InputError, OperatingError } from '../../core/errors.ts';
import { parseRateFile } from '../../ledger/conversions/rate-files.ts';
import { addRates, listRates, type NewRate } from '../../ledger/conversions/rates.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import { withLedger } from '../stores.ts';
import { renderTable } from '../table.ts';

const NAME = 'afflux-rates';
const ACTOR = 'command line';
const SHOWN_RATES = 100;

/** `afflux rates load`: all rates of a file, or none. */
export async function loadRates(file: string, options: { from?: Date | undefined }): Promise<void> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new OperatingError('usage', `cannot read ${file}: ${errorText(error)}`, { cause: error });
  });
  const { from } = options;
  const rates = parseRateFile(text).filter(({ validFrom }) => from === undefined || validFrom >= from);
  const { added, known } = await withLedger(NAME, (ledger) => store(ledger, rates));
  process.stdout.write(`${added} rates stored, ${known} were there already.\n`);
}

/** `afflux rates add`: one rate, in force until a later one. */
export async function addRate(options: {
  base: string;
  quote: string;
  rate: string;
  source: string;
  from?: Date | undefined;
}): Promise<void> {
  const { from = new Date(), ...rate } = options;
  const { added } = await withLedger(NAME, (ledger) =>
    store(ledger, [{ ...rate, validFrom: from, validUntil: null }]),
  );
  process.stdout.write(added === 1 ? 'Stored.\n' : 'It was there already.\n');
}

/** `afflux rates list`. */
export async function showRates(options: {
  base?: string | undefined;
  quote?: string | undefined;
}): Promise<void> {
  const rates = await withLedger(NAME, (ledger) => listRates(ledger, { ...options, limit: SHOWN_RATES }));
  const rows = rates.map(({ id, base, quote, rate, source, validFrom, validUntil }) => [
    `rat_${id}`,
    `1 ${base} = ${rate} ${quote}`,
    `from ${validFrom.toISOString()}${validUntil === null ? '' : ` until ${validUntil.toISOString()}`}`,
    source,
  ]);
  process.stdout.write(rows.length === 0 ? 'No rate is stored.\n' : `${renderTable(rows)}\n`);
}

async function store(ledger: Database, rates: readonly NewRate[]) {
  return await inTransaction(ledger, (tx) => addRates(tx, { rates, actor: ACTOR })).catch(
    (error: unknown) => {
      if (!(error instanceof InputError)) throw error;
      throw new OperatingError('invalid_rates', error.message, { cause: error });
    },
  );
}
