import { startLoop } from '../../core/service/loop.ts';
import { HOUR_MS } from '../../core/time.ts';
import type { Http } from '../chaos/http.ts';
import type { Platform } from '../platform.ts';
import { isTrueWithin } from '../wait.ts';

/** What was seen while the load was on. */
export interface Probe {
  /** How long each click took from its redirect until a report showed it, milliseconds, in the order of the clicks. */
  readonly freshnessMs: readonly number[];
  /** How long each report took, milliseconds. */
  readonly reportMs: readonly number[];
  readonly clicks: number;
  readonly ordersAccepted: number;
  /** Requests without an answer, or with one that is wrong. */
  readonly failures: readonly string[];
  /** No further clicks and orders; resolves once the report shows every click, or to false at the deadline. */
  stop(deadlineMs: number): Promise<boolean>;
}

const CLICK_PAUSE_MS = 50;
/** A click can be visible this much earlier than the report's `complete_to` tells. */
const REPORT_PAUSE_MS = 250;
const AMOUNT = '20.00';

/** A visitor, a shop and a reader of reports, one each: they click a link of their own, order, and look. */
export function startProbe(options: {
  http: Http;
  platform: Platform;
  link: { id: string; code: string };
}): Probe {
  const { http, platform, link } = options;
  const { apiUrl, collectorUrl, demo } = platform;
  const answeredAt: number[] = [];
  const freshnessMs: number[] = [];
  const reportMs: number[] = [];
  const failures: string[] = [];
  const from = new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS);
  let ordersAccepted = 0;

  async function click(): Promise<string | undefined> {
    let clickId: string | null | undefined;
    const answer = await http.send('GET', `${collectorUrl}/c/${link.code}`, {
      headers: { 'User-Agent': `Mozilla/5.0 (X11; Linux x86_64) Probe/${answeredAt.length}` },
      onHead: ({ headers }) => {
        clickId = headers.location && new URL(headers.location).searchParams.get('click_id');
      },
    });
    if (answer?.status === 302 && clickId) {
      answeredAt.push(performance.now());
      return clickId;
    }
    failures.push(`click: ${answer?.status ?? 'no answer'}`);
    return undefined;
  }

  async function order(clickId: string): Promise<void> {
    const answer = await http.send('POST', `${apiUrl}/v1/conversions`, {
      headers: { Authorization: `Bearer ${demo.keys.advertiser}` },
      body: { order_id: clickId, amount: AMOUNT, currency: demo.program.currency, click_id: clickId },
    });
    if (answer?.status === 200 || answer?.status === 202) ordersAccepted++;
    else failures.push(`order: ${answer?.status ?? 'no answer'} ${answer?.body ?? ''}`);
  }

  async function look(): Promise<void> {
    const query = new URLSearchParams({
      from: from.toISOString(),
      to: new Date(from.getTime() + 3 * HOUR_MS).toISOString(),
      metrics: 'clicks',
      link_id: link.id,
    });
    const askedAt = performance.now();
    const answer = await http.send('GET', `${apiUrl}/v1/reports?${query}`, {
      headers: { Authorization: `Bearer ${demo.keys.operator}` },
    });
    if (answer?.status !== 200) {
      failures.push(`report: ${answer?.status ?? 'no answer'} ${answer?.body ?? ''}`);
      return;
    }
    const now = performance.now();
    reportMs.push(now - askedAt);
    const [row] = (JSON.parse(answer.body) as { rows: { clicks: number | string }[] }).rows;
    for (const at of answeredAt.slice(freshnessMs.length, Number(row?.clicks ?? 0)))
      freshnessMs.push(now - at);
  }

  const clicks = startLoop(async () => {
    const clickId = await click();
    if (clickId !== undefined) await order(clickId);
    return CLICK_PAUSE_MS;
  });
  const looks = startLoop(async () => {
    await look();
    return REPORT_PAUSE_MS;
  });

  return {
    freshnessMs,
    reportMs,
    failures,
    get clicks() {
      return answeredAt.length;
    },
    get ordersAccepted() {
      return ordersAccepted;
    },
    async stop(deadlineMs) {
      await clicks.stop();
      const allSeen = await isTrueWithin(deadlineMs, () => freshnessMs.length === answeredAt.length);
      await looks.stop();
      return allSeen;
    },
  };
}
