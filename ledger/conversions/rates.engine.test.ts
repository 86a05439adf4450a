import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { InputError } from '../../core/errors.ts';
import { formatAmount, MAX_AMOUNT_MINOR, parseAmount } from '../../core/money.ts';
import {
  createParties,
  creditOrder,
  decisionFor,
  freshLedger,
  recordDecision,
  type TestLedger,
  type TestParties,
} from '../../test/support/ledger.ts';
import { auditLedger } from '../audit/audit.ts';
import { recordRefund } from '../decisions/refunds.ts';
import { type Database, inTransaction } from '../postgres/db.ts';
import { createProgram } from '../programs/programs.ts';
import { type Conversion, recordConversion } from './conversions.ts';
import { parseRateFile } from './rate-files.ts';
import { addRates, listRates, type NewRate } from './rates.ts';

let db: TestLedger;
let ledger: Database;
let parties: TestParties;
beforeAll(async () => {
  db = await freshLedger({ max: 4 });
  ledger = db.ledger;
  parties = await createParties(ledger);
});
afterAll(async () => await db.close());

async function add(...rates: (Pick<NewRate, 'base' | 'quote' | 'rate'> & Partial<NewRate>)[]) {
  const defaults = { source: 'test', validFrom: new Date('2020-01-01'), validUntil: null };
  return await inTransaction(ledger, (tx) =>
    addRates(tx, { actor: 'test', rates: rates.map((rate) => ({ ...defaults, ...rate })) }),
  );
}

let orders = 0;
async function report(
  currency: string,
  amount: string,
  options: { programId?: number; occurredAt?: Date; orderId?: string } = {},
): Promise<Conversion> {
  const { programId = parties.programId, orderId = `o${++orders}`, ...rest } = options;
  const { conversion } = await recordConversion(ledger, {
    programId,
    orderId,
    amountMinor: parseAmount(amount, currency),
    currency,
    source: 'api',
    ...rest,
  });
  return conversion;
}

async function refund(orderId: string, refundRef: string, amountMinor: bigint) {
  const { programId } = parties;
  return await inTransaction(ledger, (tx) =>
    recordRefund(tx, { programId, orderId, refundRef, amountMinor, actor: 'test' }),
  );
}

const inBooks = ({ amountMinor, currency }: Conversion) => formatAmount(amountMinor, currency);

describe('an order in another currency', () => {
  test('is converted by the rate in force when it occurred, and keeps both amounts and the rate', async () => {
    await add(
      { base: 'USD', quote: 'EUR', rate: '0.9', validFrom: new Date('2026-03-01') },
      { base: 'USD', quote: 'EUR', rate: '0.8', validFrom: new Date('2026-04-01') },
    );
    const at = async (time: string) => await report('USD', '10.05', { occurredAt: new Date(time) });
    const march = await at('2026-03-31T23:59:59.999Z');
    // 9.045 and 8.04: half to even.
    expect([inBooks(march), inBooks(await at('2026-04-01T00:00:00Z'))]).toEqual(['9.04', '8.04']);
    const [, rate] = await listRates(ledger, { limit: 2, base: 'USD', quote: 'EUR' });
    expect(march).toMatchObject({
      currency: 'EUR',
      orderCurrency: 'USD',
      orderAmountMinor: 1_005n,
      rateId: rate?.id,
      crossRateId: null,
    });
    expect(rate).toMatchObject({ rate: '0.9', source: 'test' });
  });

  test('is converted by the inverse, or by way of a third currency', async () => {
    await add(
      { base: 'EUR', quote: 'JPY', rate: '160' },
      { base: 'CHF', quote: 'GBP', rate: '0.875', source: 'a bank' },
      { base: 'CHF', quote: 'EUR', rate: '1.05', source: 'a bank' },
    );
    expect(inBooks(await report('JPY', '1000'))).toBe('6.25');
    const crossed = await report('GBP', '7.00');
    expect(inBooks(crossed)).toBe('8.40');
    expect(crossed.crossRateId).not.toBeNull();
  });

  test.each([
    ['no rate at all', 'SEK', new Date()],
    ['rates that begin later', 'NOK', new Date('2026-05-31')],
    ['a rate that has ended', 'NOK', new Date('2026-06-08')],
    ['rates of two sources, neither between the two', 'DKK', new Date()],
  ])('with %s is refused by a code that names field and currencies', async (_what, currency, occurredAt) => {
    await add(
      {
        base: 'EUR',
        quote: 'NOK',
        rate: '11',
        validFrom: new Date('2026-06-01'),
        validUntil: new Date('2026-06-08'),
      },
      { base: 'PLN', quote: 'DKK', rate: '2', source: 'one' },
      { base: 'PLN', quote: 'EUR', rate: '0.25', source: 'another' },
    );
    const fault = await report(currency, '5.00', { occurredAt }).catch((error: unknown) => error);
    expect(fault).toMatchObject({ constructor: InputError, field: 'currency', code: 'no_rate' });
    expect((fault as Error).message).toContain(`from ${currency} to EUR`);
  });

  test('counts once, and contradicts itself by what was reported', async () => {
    const occurredAt = new Date('2026-03-10');
    const first = await report('USD', '100.00', { orderId: 'again', occurredAt });
    expect(await report('USD', '100.00', { orderId: 'again', occurredAt })).toEqual(first);
    const other = await recordConversion(ledger, {
      programId: parties.programId,
      orderId: 'again',
      amountMinor: first.amountMinor,
      currency: 'EUR',
      occurredAt,
      source: 'api',
    });
    expect(other).toMatchObject({ outcome: 'conflict', differing: ['amount', 'currency'] });
  });

  test('whose amount is not what its rate makes of it is refused by the database', async () => {
    const { id } = await report('USD', '10.00', { occurredAt: new Date('2026-03-10') });
    const copyWith = (change: string) =>
      ledger.unsafe(`
        insert into conversions overriding user value
        select (jsonb_populate_record(c, jsonb_build_object('order_id', 'forged', 'received_at', now(), ${change}))).*
        from conversions c where id = ${id}`);
    await expect(copyWith(`'amount_minor', 901`)).rejects.toThrow('is not what its rate makes of it');
    await expect(copyWith(`'occurred_at', '2026-02-10'`)).rejects.toThrow('is not what its rate makes of it');
    await expect(copyWith(`'order_currency', 'CAD'`)).rejects.toThrow('is not what its rate makes of it');
    await copyWith(`'amount_minor', 900`);
  });

  test('is refunded by the same rate, exactly, in whatever parts', async () => {
    await add({ base: 'KWD', quote: 'EUR', rate: '2.987654321' });
    await fc.assert(
      fc.asyncProperty(
        fc.bigInt({ min: 3n, max: 5_000_000n }),
        fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 4 }),
        async (amountMinor, weights) => {
          const conversion = await report('KWD', formatAmount(amountMinor, 'KWD'));
          await inTransaction(ledger, (tx) =>
            recordDecision(tx, decisionFor(parties, conversion.id, { outcome: 'attributed', reason: null })),
          );
          const sum = BigInt(weights.reduce((total, weight) => total + weight, 0));
          let left = amountMinor;
          for (const [i, weight] of weights.entries()) {
            const part = i === weights.length - 1 ? left : (amountMinor * BigInt(weight)) / sum;
            if (part > 0n) await refund(conversion.orderId, `r${i}`, part);
            left -= part;
          }
          const last = await refund(conversion.orderId, 'more', 1n).catch((error: unknown) => error);
          expect(last).toMatchObject({ field: 'amount' });
          const [row] = await ledger<{ refunded: bigint; commissions: bigint }[]>`
            select refunded_minor as refunded, (
              select coalesce(sum(amount_minor - reversed_minor), 0)::bigint from commissions where conversion_id = c.id
            ) as commissions from conversions c where id = ${conversion.id}`;
          expect(row).toEqual({ refunded: conversion.amountMinor, commissions: 0n });
        },
      ),
      { numRuns: 15 },
    );
    expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
  });

  test('comes to the exact amount rounded once, half to even, for every number of digits', async () => {
    const currencies = ['JPY', 'EUR', 'KWD', 'CLF'] as const;
    const programs = await Promise.all(
      currencies.map((currency) => createProgram(ledger, { name: currency, currency })),
    );
    const exponent = { JPY: 0, EUR: 2, KWD: 3, CLF: 4 } as const;
    let day = 0;
    let tooLarge = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([...currencies], { minLength: 2, maxLength: 2 }),
        fc.bigInt({ min: 0n, max: 10_000_000n }),
        fc.bigInt({ min: 1n, max: 10n ** 8n }),
        fc.integer({ min: 0, max: 8 }),
        fc.boolean(),
        async ([from = 'EUR', to = 'JPY'], amountMinor, digits, scale, isInverse) => {
          const text = digits.toString().padStart(scale + 1, '0');
          const rate =
            scale === 0 ? text : `${text.slice(0, -scale)}.${text.slice(-scale)}`.replace(/^(?=\.)/, '0');
          const occurredAt = new Date(Date.UTC(2000, 0, ++day));
          const validUntil = new Date(Date.UTC(2000, 0, day + 1));
          const [base, quote] = isInverse ? [to, from] : [from, to];
          await add({ base, quote, rate, validFrom: occurredAt, validUntil });
          const programId = programs[currencies.indexOf(to)]?.id ?? 0;
          // amount × rate^±1 × 10^(to − from), as one fraction: within half a unit, and even where it is just between.
          const [factor, divisor] = isInverse
            ? [10n ** BigInt(scale), digits]
            : [digits, 10n ** BigInt(scale)];
          const numerator = amountMinor * factor * 10n ** BigInt(exponent[to]);
          const denominator = divisor * 10n ** BigInt(exponent[from]);
          const conversion = await report(from, formatAmount(amountMinor, from), {
            programId,
            occurredAt,
          }).catch((error: unknown) => error as InputError);
          if (conversion instanceof InputError) {
            tooLarge++;
            expect(conversion.field).toBe('amount');
            expect(numerator > MAX_AMOUNT_MINOR * denominator).toBe(true);
            return;
          }
          const off = 2n * (numerator - conversion.amountMinor * denominator);
          const size = off < 0n ? -off : off;
          expect(size <= denominator).toBe(true);
          expect(size < denominator || conversion.amountMinor % 2n === 0n).toBe(true);
        },
      ),
      { numRuns: 150, examples: [[['EUR', 'JPY'], 50n, 1n, 0, false]] },
    );
    expect(tooLarge).toBeLessThan(100);
  });

  test('earns and pays in the currency of its program only', async () => {
    await creditOrder(ledger, parties, { amountMinor: 1_000n });
    const currencies = await ledger<{ currency: string }[]>`
      select distinct currency from entries e join journals j on j.id = e.journal_id
      where j.program_id = ${parties.programId}`;
    expect(currencies).toEqual([{ currency: 'EUR' }]);
  });
});

describe('rates', () => {
  test('are never changed: the same again is left out, another is refused, and then nothing is stored', async () => {
    const rate = { base: 'EUR', quote: 'CZK', rate: '24.5' };
    expect(await add(rate)).toEqual({ added: 1, known: 0 });
    expect(await add({ ...rate, rate: '24.50' })).toEqual({ added: 0, known: 1 });
    await expect(add({ base: 'EUR', quote: 'HUF', rate: '390' }, { ...rate, rate: '25' })).rejects.toThrow(
      'of EUR in CZK from 2020-01-01T00:00:00.000Z on is stored as 24.5',
    );
    expect(await listRates(ledger, { limit: 1, quote: 'HUF' })).toEqual([]);
    await expect(db.owner`update rates set rate = 1`).rejects.toThrow('append-only');
  });

  test.each([
    ['base', { base: 'EURO' }],
    ['quote', { quote: 'EUR' }],
    ['rate', { rate: '0.000' }],
    ['rate', { rate: '-1' }],
    ['rate', { rate: '1e3' }],
    ['rate', { rate: '1.0000000000001' }],
    ['source', { source: '' }],
    ['valid_from', { validFrom: new Date(Number.NaN) }],
    ['valid_until', { validUntil: new Date(0) }],
  ])('with a wrong %s are refused', async (field, given) => {
    await expect(add({ base: 'EUR', quote: 'BRL', rate: '6', ...given })).rejects.toEqual(
      expect.objectContaining({ constructor: InputError, field }),
    );
  });
});

describe('a file of rates', () => {
  const ecb = 'European Central Bank';
  const from = (date: string) => ({
    validFrom: new Date(date),
    validUntil: new Date(new Date(date).getTime() + 7 * 86_400_000),
  });

  test('of the European Central Bank: of a day, and of all days', () => {
    expect(parseRateFile('Date, USD, JPY, \n24 November 2026, 1.0512, 161.20, \n')).toEqual([
      { base: 'EUR', quote: 'USD', rate: '1.0512', source: ecb, ...from('2026-11-25') },
      { base: 'EUR', quote: 'JPY', rate: '161.20', source: ecb, ...from('2026-11-25') },
    ]);
    const all = 'Date,USD,CYP,RON,\n2026-11-24,1.0512,N/A,4.97,\n2005-01-03,1.3507,0.5803,N/A,\n';
    expect(parseRateFile(all).map(({ quote, rate, validFrom }) => [quote, rate, validFrom])).toEqual([
      ['USD', '1.0512', new Date('2026-11-25')],
      ['RON', '4.97', new Date('2026-11-25')],
      ['USD', '1.3507', new Date('2005-01-04')],
    ]);
  });

  test("of one's own", () => {
    expect(
      parseRateFile('base,quote,rate,source,valid_from\r\nUSD,EUR,0.92,contract 7,2026-01-01\r\n'),
    ).toEqual([
      {
        base: 'USD',
        quote: 'EUR',
        rate: '0.92',
        source: 'contract 7',
        validFrom: new Date('2026-01-01'),
        validUntil: null,
      },
    ]);
  });

  test.each([
    ['', 'line 1'],
    ['base,quote\nUSD,EUR\n', 'rate, source, valid_from'],
    ['Date,USD,\nsoon,1.05,\n', 'line 2'],
    ['base,quote,rate,source,valid_from\nUSD,EUR,0.92,x,tomorrow\n', 'line 2: valid_from'],
    ['Date,USD,\n2026-11-24,1.05\n', 'line 2'],
  ])('%j is refused with its line', (text, message) => {
    expect(() => parseRateFile(text)).toThrow(message);
  });
});
