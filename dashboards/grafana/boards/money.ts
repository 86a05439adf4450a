import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { DAY_S } from '../../../core/time.ts';
import { payoutAnnotation } from '../annotations.ts';
import { buildBoard, line } from '../board.ts';
import { AFFILIATE_COLUMNS, portalPage } from '../links.ts';
import { type Column, numbers, overTime, type PanelSource, rows } from '../panels.ts';
import { freshness } from '../pieces/freshness.ts';
import { comingOutOfHold } from '../pieces/hold.ts';
import { postgres } from '../sources.ts';
import { chosenInLedger } from '../sql.ts';
import { portalVariable, variable } from '../variables.ts';

/** An audit older than this, in seconds, is stale. */
const STALE_AUDIT_SECONDS = DAY_S;

const MONEY: Column = { unit: 'locale', decimals: 2 };

/** Balances owed, in transit and paid, with the audit of the books. */
export function money(): Dashboard {
  return buildBoard({
    board: 'money',
    description: 'Balances owed, in transit and paid, payouts by state, and the audit of the books.',
    from: 'now-30d',
    refresh: '5m',
    variables: [variable('program'), variable('affiliate'), portalVariable()],
    annotations: [payoutAnnotation()],
    top: [
      line(
        4,
        [4, freshness()],
        [4, balance('pending', 'Pending', 'In the hold or in review.')],
        [3, balance('available', 'Available', 'Part of the next payout.')],
        [3, balance('in_transit', 'In transit', 'In a submitted payout.')],
        [4, balance('paid', 'Paid', 'Paid in total.')],
        [
          3,
          balance(
            'adjustments',
            'Adjustments',
            'Bonuses less deductions, without an order; part of the next payout.',
          ),
        ],
        [
          3,
          balance(
            'debt',
            'Debt',
            'Zero or negative: paid for orders refunded later; netted by the next payouts.',
          ),
        ],
      ),
    ],
    sections: [
      { title: 'Audit', lines: [line(9, [6, proved()], [18, proofs()])] },
      {
        title: 'Payouts',
        lines: [
          line(9, [10, payoutsByState()], [14, payoutsOverTime()]),
          line(9, [24, openPayouts()]),
          line(9, [24, unpayable()]),
        ],
      },
      {
        title: 'Movements',
        lines: [
          line(9, [12, movements()], [12, comingOutOfHold('program', 'affiliate')]),
          line(10, [24, affiliates()]),
        ],
      },
    ],
  });
}

function balance(account: string, title: string, description: string): PanelSource {
  return numbers({
    title,
    description: `${description} Current value, independent of the range; one number per currency; from the ledger.`,
    unit: 'locale',
    decimals: 2,
    money: true,
    seriesBy: 'unit',
    queries: [
      postgres(
        `
SELECT now() AS "time", currency AS unit, sum(${account})::float8 AS "${title}"
FROM grafana_balances
WHERE ${chosenInLedger('program', 'affiliate')}
GROUP BY currency ORDER BY currency`,
        'series',
      ),
    ],
  });
}

function proved(): PanelSource {
  return numbers({
    title: 'Last audit',
    description: 'Violated checks of the last audit, and its age. Run `afflux audit` by a timer.',
    unit: 'none',
    columns: {
      'Violated checks': { steps: [[1, 'red']] },
      Age: { unit: 's', steps: [[STALE_AUDIT_SECONDS, 'orange']] },
    },
    queries: [
      postgres(
        `
SELECT count(*) FILTER (WHERE NOT ok) AS "Violated checks", extract(epoch FROM clock_timestamp() - at)::float8 AS "Age"
FROM grafana_audit_checks
WHERE at = (SELECT max(at) FROM grafana_audit_checks)
GROUP BY at`,
        'table',
      ),
    ],
  });
}

function proofs(): PanelSource {
  return rows({
    title: 'Audit checks',
    description:
      'Each check of the last audit with its finding. Database checks recompute the books from the entries; click checks show that no click is missing or stored twice.',
    unit: 'none',
    empty: 'No audit yet: run afflux audit',
    columns: { Holds: { width: 80 }, Store: { width: 80 }, Check: { width: 220 } },
    queries: [
      postgres(
        `
SELECT CASE WHEN ok THEN 'yes' ELSE 'NO' END AS "Holds", store AS "Store", name AS "Check", detail AS "Found"
FROM grafana_audit_checks
WHERE at = (SELECT max(at) FROM grafana_audit_checks)
ORDER BY ok, store, name`,
        'table',
      ),
    ],
  });
}

function payoutsByState(): PanelSource {
  return rows({
    title: 'Payouts by state',
    description:
      'Payouts created in the range. Unknown: no answer from the provider; reconciliation asks again, never under a second key. Returned: the payment was returned.',
    unit: 'short',
    empty: 'No payouts in this range',
    columns: { State: { width: 120 }, Amount: MONEY },
    queries: [
      postgres(
        `
SELECT state AS "State", count(*) AS "Payouts", sum(amount)::float8 AS "Amount", currency AS "Currency"
FROM grafana_payouts
WHERE $__timeFilter(created_at) AND ${chosenInLedger('program', 'affiliate')}
GROUP BY state, currency ORDER BY 2 DESC, 1, 4`,
        'table',
      ),
    ],
  });
}

function payoutsOverTime(): PanelSource {
  return overTime({
    title: 'Payouts by day',
    description: 'Amounts of payouts by day of creation (UTC); one series per currency and current state.',
    unit: 'locale',
    money: true,
    draw: 'stacked bars',
    interval: '1d',
    seriesBy: 'kind',
    queries: [
      postgres(
        `
SELECT date_trunc('day', created_at, 'UTC') AS "time", state || ' ' || currency AS kind, sum(amount)::float8 AS amount
FROM grafana_payouts
WHERE $__timeFilter(created_at) AND ${chosenInLedger('program', 'affiliate')}
GROUP BY 1, 2 ORDER BY 1, 2`,
        'series',
      ),
    ],
  });
}

function openPayouts(): PanelSource {
  return rows({
    title: 'Payouts that need attention',
    description:
      'By need, the oldest first, all of them, independent of the range: no answer from the provider; under way for more than a day; failed or returned, until a later payout takes its place; waiting for approval.',
    unit: 'none',
    empty: 'No payouts need attention',
    columns: {
      Need: { width: 250 },
      Payout: { width: 90, link: portalPage('payouts', { title: 'this payout', search: 'Payout' }) },
      ...AFFILIATE_COLUMNS,
      Amount: MONEY,
      Created: { unit: 'dateTimeFromNow' },
    },
    queries: [
      postgres(
        `
SELECT need AS "Need", 'pay_' || id AS "Payout", affiliate AS "Affiliate", affiliate_id AS "ID", amount::float8 AS "Amount",
  currency AS "Currency", state AS "State", provider AS "Provider", created_at AS "Created", coalesce(failure, '') AS "Failure"
FROM grafana_payouts_open
WHERE ${chosenInLedger('program', 'affiliate')}
ORDER BY need, created_at, id`,
        'table',
      ),
    ],
  });
}

function unpayable(): PanelSource {
  return rows({
    title: 'Available and not payable',
    description:
      'Affiliates with available money and no account that it can be paid to now: none is set, a payment to it was refused or came back, or it is new and on hold. Current values, independent of the range; all of them.',
    unit: 'none',
    empty: 'All available money can be paid',
    columns: { ...AFFILIATE_COLUMNS, Available: MONEY, 'Held until': { unit: 'dateTimeAsIso' } },
    queries: [
      postgres(
        `
SELECT b.affiliate AS "Affiliate", b.affiliate_id AS "ID", b.program AS "Program", b.available::float8 AS "Available",
  b.currency AS "Currency",
  CASE WHEN m.affiliate_id IS NULL THEN 'no account' WHEN m.refused_at IS NOT NULL THEN 'account refused'
    ELSE 'account on hold' END AS "Reason",
  CASE WHEN m.held_until > clock_timestamp() THEN m.held_until END AS "Held until"
FROM (SELECT * FROM grafana_balances WHERE available > 0 AND ${chosenInLedger('program', 'affiliate')}) AS b
LEFT JOIN grafana_payout_methods AS m ON m.affiliate_id = b.affiliate_id
WHERE m.affiliate_id IS NULL OR m.refused_at IS NOT NULL OR m.held_until > clock_timestamp()
ORDER BY b.available DESC, b.affiliate_id`,
        'table',
      ),
    ],
  });
}

function movements(): PanelSource {
  return overTime({
    title: 'Postings by day',
    description:
      'Sums of journals on affiliates’ accounts by day (UTC) and kind; moves between accounts of one affiliate sum to zero and are omitted.',
    unit: 'locale',
    money: true,
    draw: 'bars',
    signed: true,
    interval: '1d',
    seriesBy: 'kind',
    queries: [
      postgres(
        `
SELECT date_trunc('day', at, 'UTC') AS "time", kind || ' ' || currency AS kind, sum(amount)::float8 AS amount
FROM grafana_movements
WHERE $__timeFilter(at) AND ${chosenInLedger('program', 'affiliate')}
GROUP BY 1, 2 HAVING sum(amount) <> 0 ORDER BY 1, 2`,
        'series',
      ),
    ],
  });
}

function affiliates(): PanelSource {
  return rows({
    title: 'Balances by affiliate',
    description:
      'The 200 affiliates with the largest debt, then the largest unpaid balance; current values, independent of the range.',
    unit: 'locale',
    decimals: 2,
    empty: 'No earnings',
    columns: {
      ...AFFILIATE_COLUMNS,
    },
    queries: [
      postgres(
        `
SELECT affiliate AS "Affiliate", affiliate_id AS "ID", program AS "Program", currency AS "Currency", pending::float8 AS "Pending",
  available::float8 AS "Available", in_transit::float8 AS "In transit", paid::float8 AS "Paid",
  adjustments::float8 AS "Adjustments", debt::float8 AS "Debt"
FROM grafana_balances
WHERE ${chosenInLedger('program', 'affiliate')}
  AND (pending, available, in_transit, paid, adjustments, debt) <> (0, 0, 0, 0, 0, 0)
ORDER BY debt, pending + available + in_transit + adjustments DESC, affiliate_id LIMIT 200`,
        'table',
      ),
    ],
  });
}
