import { HOUR_MS } from '../../../core/time.ts';
import { type HourlySales, readCampaignSales } from '../../../ledger/conversions/order-history.ts';
import type { Database } from '../../../ledger/postgres/db.ts';
import { TRAFFIC_HOURS } from '../../../warehouse/lookups/campaign-traffic.ts';
import { withinTime } from './within-time.ts';

/**
 * Who has sold by the clicks of a campaign in the hours before that of a click. A campaign's orders are read once for all
 * hours of a batch and kept in memory: what counts of hours that are over stays the same, so that a lone order reads
 * nothing until the next hour of clicks.
 */

export interface SalesQuestion {
  readonly campaignId: number;
  /** Beginning of the hour of the click, Unix ms: not later than now. */
  readonly hour: number;
  /** Older orders are decided: what is read is kept beyond the call. */
  readonly isSettled: boolean;
}

/** Clicks that led to an order, by affiliate. */
export type SoldBy = ReadonlyMap<number, number>;

export interface CampaignSales {
  /** One answer a question in the same order; undefined where the orders could not be read in the time. */
  read(ledger: Database, questions: readonly SalesQuestion[]): Promise<(SoldBy | undefined)[]>;
}

/** Sales by the clicks in `[from, to)`, Unix ms, as they were when both were over. */
interface Kept {
  readonly campaignId: number;
  readonly from: number;
  readonly to: number;
  readonly sales: readonly HourlySales[];
  /** What was added up already, by hour. */
  readonly soldBy: Map<number, SoldBy>;
}

const WINDOW_MS = TRAFFIC_HOURS * HOUR_MS;
/** Of orders that are decided at one time, the clicks are of the last day: with the day before each, these hours. */
const KEPT_MS = 2 * WINDOW_MS;
/** Rows that are kept, of all campaigns: some 20 MB. */
const MAX_KEPT_ROWS = 200_000;
/** What one reading may take: a batch is delayed by no more. */
const LIMIT_MS = 1_000;

export function createCampaignSales(): CampaignSales {
  // In the order of their last use.
  const kept = new Map<number, Kept>();

  function keep(one: Kept): void {
    kept.delete(one.campaignId);
    kept.set(one.campaignId, one);
    let rows = [...kept.values()].reduce((sum, { sales }) => sum + sales.length, 0);
    for (const [campaignId, { sales }] of kept) {
      if (rows <= MAX_KEPT_ROWS) break;
      rows -= sales.length;
      kept.delete(campaignId);
    }
  }

  return {
    async read(ledger, questions) {
      const byCampaign = new Map<number, SalesQuestion[]>();
      for (const question of questions) {
        const { campaignId } = question;
        byCampaign.set(campaignId, [...(byCampaign.get(campaignId) ?? []), question]);
      }
      const spans = [...byCampaign.values()].flatMap((asked) => spansToRead(asked, kept));
      const answers = spans.length === 0 ? [] : await readSpans(ledger, spans);
      const found = new Map([...byCampaign.keys()].map((id) => [id, kept.get(id)]));
      for (const one of answers) found.set(one.campaignId, one);
      for (const [campaignId, asked] of byCampaign) {
        const one = found.get(campaignId);
        if (one && asked.every(({ isSettled }) => isSettled)) keep(one);
      }
      return questions.map(({ campaignId, hour }) => soldIn(found.get(campaignId), hour));
    },
  };
}

interface Span {
  readonly campaignId: number;
  readonly from: number;
  readonly to: number;
}

/** Whether a question is answered by clicks of these hours. */
function holds(span: Pick<Span, 'from' | 'to'> | undefined, hour: number): boolean {
  return span !== undefined && span.from <= hour - WINDOW_MS && hour <= span.to;
}

/**
 * The hours of all questions of a campaign, and those that the next questions may be about: hours before what is read would
 * be read with all of them again.
 */
function spansToRead(asked: readonly SalesQuestion[], kept: ReadonlyMap<number, Kept>): Span[] {
  const { campaignId = 0 } = asked[0] ?? {};
  const known = kept.get(campaignId);
  const hours = asked.map(({ hour }) => hour);
  if (hours.every((hour) => holds(known, hour))) return [];
  const from = Math.min(...hours) - WINDOW_MS;
  const latest = Math.max(...hours);
  const isApart = !known || known.from > latest || known.to < from;
  const to = isApart ? latest : Math.max(latest, known.to);
  return [{ campaignId, from: Math.min(from, to - KEPT_MS), to }];
}

async function readSpans(ledger: Database, spans: readonly Span[]): Promise<Kept[]> {
  const asked = spans.map(({ campaignId, from, to }) => ({
    ...{ campaignId, from: new Date(from), to: new Date(to) },
  }));
  const answers = await withinTime(ledger, LIMIT_MS, (tx) => readCampaignSales(tx, asked));
  return (answers ?? []).flatMap((sales, i): Kept[] => {
    const span = spans[i];
    return span === undefined ? [] : [{ ...span, sales, soldBy: new Map() }];
  });
}

function soldIn(known: Kept | undefined, hour: number): SoldBy | undefined {
  if (!known || !holds(known, hour)) return undefined;
  const added = known.soldBy.get(hour);
  if (added) return added;
  const soldBy = new Map<number, number>();
  for (const sold of known.sales) {
    if (sold.hour < hour - WINDOW_MS || sold.hour >= hour || sold.settledBy > hour) continue;
    soldBy.set(sold.affiliateId, (soldBy.get(sold.affiliateId) ?? 0) + sold.clicks);
  }
  known.soldBy.set(hour, soldBy);
  return soldBy;
}
