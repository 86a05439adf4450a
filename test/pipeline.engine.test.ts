import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApi } from '../api/main.ts';
import { startAttribution } from '../attribution/main.ts';
import { connectNats } from '../core/clicks/stream.ts';
import { type Config, loadConfig } from '../core/config/config.ts';
import { createMetrics, type Running } from '../core/service/service.ts';
import { openTelemetry } from '../core/telemetry/start.ts';
import { DAY_MS } from '../core/time.ts';
import { freePort } from '../engines/engine.ts';
import { createApiKey } from '../ledger/access/api-keys.ts';
import { auditLedger } from '../ledger/audit/audit.ts';
import { affiliateBalance } from '../ledger/audit/counts.ts';
import { createBlocks, endBlock } from '../ledger/blocks/blocks.ts';
import { getPayout } from '../ledger/payouts/payouts.ts';
import { createBankCsvProvider } from '../ledger/payouts/providers/bank-csv.ts';
import { runPayouts } from '../ledger/payouts/run.ts';
import { createAffiliate } from '../ledger/programs/affiliates.ts';
import { createLink } from '../ledger/programs/links.ts';
import { updateProgram } from '../ledger/programs/programs.ts';
import { setTerms } from '../ledger/programs/terms.ts';
import { startScheduler } from '../scheduler/main.ts';
import { tracePayouts } from '../scheduler/traces.ts';
import { auditWarehouse } from '../warehouse/audit/audit.ts';
import { startLoader } from '../warehouse/loader/main.ts';
import { type CollectorUnderTest, prepareCollector } from './support/collector.ts';
import { waitFor } from './support/engines.ts';
import { givePayoutMethod } from './support/ledger.ts';
import { type OtlpReceiver, startOtlpReceiver } from './support/servers/otlp.ts';
import { freshWarehouse, quietLog } from './support/warehouse.ts';

/** A click is counted within two seconds, and its order decided at once after that. */
const DECIDED_MS = 20_000;

interface Conversion {
  id: string;
  order_id: string;
  state: string;
  status: string;
  reason: string | null;
}

describe('from a click to a payout', () => {
  let world: CollectorUnderTest;
  let receiver: OtlpReceiver;
  let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
  let config: Config;
  let api = '';
  let key = '';
  const codes: string[] = [];
  const services: Running[] = [];
  /** Ann's parent is Bob, whose parent is Cat. */
  const ids = { ann: 0, bob: 0, cat: 0 };

  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    world = await prepareCollector();
    warehouse = await freshWarehouse();
    const apiPort = await freePort();
    config = {
      ...world.config,
      ...pick(
        loadConfig({
          AFFLUX_HOME: world.config.home,
          CLICKHOUSE_URL: warehouse.url,
          API_PORT: String(apiPort),
          LOADER_PORT: String(await freePort()),
          ATTRIBUTION_PORT: String(await freePort()),
          SCHEDULER_PORT: String(await freePort()),
          PAYOUT_HOUR: 'off',
        }),
        'clickhouseUrl',
        'apiPort',
        'loaderPort',
        'attributionPort',
        'schedulerPort',
        'payoutHour',
      ),
      otlpEndpoint: receiver.url,
    };
    api = `http://127.0.0.1:${apiPort}`;
    await prepareProgram();
    services.push(await world.start({ otlpEndpoint: receiver.url }));
    services.push(await startLoader({ config, log: quietLog }));
    services.push(await startAttribution({ config, log: quietLog }));
    services.push(await startScheduler({ config, log: quietLog }));
    services.push(await startApi({ config, log: quietLog }));
  });
  afterAll(async () => {
    for (const service of services.reverse()) await service.stop();
    await warehouse.drop();
    await world.dispose();
    await receiver.stop();
  });

  async function prepareProgram(): Promise<void> {
    const { ledger, program } = world;
    await updateProgram(ledger, {
      id: program.id,
      changes: {
        fraudRules: {
          instant_conversion: 0,
          high_conversion_rate_from_ip: 1_000,
          // Its clicks are fetched by this test.
          bot_click: false,
          fast_conversions: false,
          repeat_orders: false,
        },
      },
    });
    const affiliate = async (refCode: string, parentId: number | null) =>
      (
        await createAffiliate(ledger, {
          programId: program.id,
          refCode,
          name: refCode,
          email: `${refCode}@affiliates.test`,
          customerRef: `customer-${refCode}`,
          parentId,
          status: 'active',
        })
      ).id;
    ids.cat = await affiliate('cat', null);
    ids.bob = await affiliate('bob', ids.cat);
    ids.ann = await affiliate('ann-2', ids.bob);
    for (const id of [ids.ann, ids.bob, ids.cat]) await givePayoutMethod(ledger, id);
    await setTerms(ledger, { programId: program.id, rateBps: 1_000, holdDays: 30, payoutMinMinor: 100n });
    for (let i = 0; i < 3; i++) {
      const { code } = await createLink(ledger, {
        campaignId: world.campaign.id,
        affiliateId: ids.ann,
        landingUrl: 'https://shop.test/?c={click_id}',
      });
      codes.push(code);
    }
    ({ key } = await createApiKey(ledger, { role: 'operator', name: 'test', programId: program.id }));
  }

  async function click(code = codes[0] ?? '', agent = 'node'): Promise<string> {
    const headers = { 'User-Agent': agent };
    const answer = await fetch(`${world.url}/c/${code}`, { redirect: 'manual', headers });
    expect(answer.status).toBe(302);
    return new URL(answer.headers.get('location') ?? '').searchParams.get('c') ?? '';
  }

  async function order(fields: Record<string, string>): Promise<{ status: string }> {
    const answer = await fetch(`${api}/v1/conversions`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ currency: 'EUR', ...fields }),
    });
    return (await answer.json()) as { status: string };
  }

  async function decided(orderIds: readonly string[]): Promise<Map<string, Conversion>> {
    return await waitFor(
      async () => {
        const answer = await fetch(`${api}/v1/conversions?limit=500`, {
          headers: { Authorization: `Bearer ${key}` },
        });
        const { data } = (await answer.json()) as { data: Conversion[] };
        const found = data.filter((conversion) => orderIds.includes(conversion.order_id));
        const open = found.filter(({ state }) => state === 'received' || state === 'awaiting_click');
        return found.length === orderIds.length && open.length === 0
          ? new Map(found.map((conversion) => [conversion.order_id, conversion]))
          : undefined;
      },
      { deadlineMs: DECIDED_MS, what: `the decision on ${orderIds.join(', ')}` },
    );
  }

  const balance = async (id: number) => {
    const found = await affiliateBalance(world.ledger, id);
    return [found?.pendingMinor, found?.availableMinor, found?.inTransitMinor, found?.paidMinor].map(Number);
  };

  it('pays three levels to the cent, once', async () => {
    const clickIds = await Promise.all(codes.map((code) => click(code)));
    const amounts = ['99.95', '0.05', '1234.56'];
    const orderIds = clickIds.map((_, i) => `order-${i}`);
    for (const [i, clickId] of clickIds.entries()) {
      const answer = await order({
        order_id: orderIds[i] ?? '',
        amount: amounts[i] ?? '',
        click_id: clickId,
      });
      expect(answer.status).toBe('accepted');
    }
    const outcomes = await decided(orderIds);
    expect([...outcomes.values()].map(({ state }) => state)).toEqual([
      'attributed',
      'attributed',
      'attributed',
    ]);

    // 10 %, 3 % and 1 %, each rounded half to even: 9.995 → 10.00 (even), 0.005 → 0.00 (even), 123.456 → 123.46.
    const ann = 1_000 + 0 + 12_346;
    // 2.9985 → 3.00, 0.0015 → 0.00, 37.0368 → 37.04.
    const bob = 300 + 0 + 3_704;
    // 0.9995 → 1.00, 0.0005 → 0.00, 12.3456 → 12.35.
    const cat = 100 + 0 + 1_235;
    expect(await balance(ids.ann)).toEqual([ann, 0, 0, 0]);
    expect(await balance(ids.bob)).toEqual([bob, 0, 0, 0]);
    expect(await balance(ids.cat)).toEqual([cat, 0, 0, 0]);

    const provider = createBankCsvProvider({ folder: `${config.home}/payouts` });
    const early = await runPayouts(world.ledger, { actor: 'test', now: new Date(), provider });
    expect([early.vested, early.built]).toEqual([0, 0]);
    const afterHold = new Date(Date.now() + 31 * DAY_MS);
    const runs = await Promise.all(
      Array.from({ length: 4 }, () => runPayouts(world.ledger, { actor: 'test', now: afterHold, provider })),
    );
    const paid = runs.flatMap((run) => run.payouts);
    expect(new Map(paid.map((payout) => [payout.affiliateId, Number(payout.amountMinor)]))).toEqual(
      new Map([
        [ids.ann, ann],
        [ids.bob, bob],
        [ids.cat, cat],
      ]),
    );
    expect(paid).toHaveLength(3);
    for (const { id } of paid) {
      const settled = await fetch(`${api}/v1/payouts/pay_${id}/mark-paid`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${key}` },
      });
      expect(settled.status).toBe(200);
    }
    expect(await balance(ids.ann)).toEqual([0, 0, 0, ann]);
    expect(await balance(ids.bob)).toEqual([0, 0, 0, bob]);
    expect(await balance(ids.cat)).toEqual([0, 0, 0, cat]);
  });

  it('decides by the evidence', async () => {
    const clickId = await click();
    const forged = `${clickId.startsWith('A') ? 'B' : 'A'}${clickId.slice(1)}`;
    const cases: [string, Record<string, string>, string, string | null][] = [
      ['good', { click_id: clickId }, 'attributed', null],
      ['none', {}, 'unattributed', 'no_click'],
      ['forged', { click_id: forged }, 'unattributed', 'invalid_click_id'],
      ['self', { click_id: clickId, customer_id: 'customer-ann-2' }, 'rejected', 'self_referral'],
      ['email', { click_id: clickId, customer_email: ' ANN-2@affiliates.test' }, 'rejected', 'self_referral'],
      ['tag', { click_id: clickId, customer_email: 'ann-2+shop@affiliates.test' }, 'review', 'self_referral'],
    ];
    for (const [orderId, fields] of cases) await order({ order_id: orderId, amount: '10.00', ...fields });
    const outcomes = await decided(cases.map(([orderId]) => orderId));
    for (const [orderId, , state, reason] of cases) {
      expect({ orderId, ...outcomes.get(orderId) }).toMatchObject({ orderId, state, reason });
    }
  });

  it('credits no order of a blocked click to its affiliate, and says by which entry it was blocked', async () => {
    const browser = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
    await click(codes[1], browser);
    const [made] = await createBlocks(world.ledger, {
      programId: world.program.id,
      actor: 'test',
      entries: [{ kind: 'network', value: '127.0.0.0/8', action: 'redirect', reason: 'the test itself' }],
    });
    const cookieOf = async () =>
      (await fetch(`${world.url}/c/${codes[0]}`, { redirect: 'manual' })).headers.get('set-cookie');
    await waitFor(async () => (await cookieOf()) === null, { deadlineMs: 3_000, what: 'the entry' });
    await order({ order_id: 'blocked', amount: '10.00', click_id: await click() });
    await order({ order_id: 'stuffed', amount: '10.00', click_id: await click(codes[0], browser) });
    await endBlock(world.ledger, { id: made?.id ?? 0, actor: 'test' });
    const outcomes = await decided(['blocked', 'stuffed']);
    const blocked = outcomes.get('blocked');
    expect(blocked).toMatchObject({ state: 'unattributed', reason: 'blocked_click' });
    // The blocked click came later, and takes the order from no affiliate.
    expect(outcomes.get('stuffed')).toMatchObject({ state: 'review', reason: 'fingerprint_match' });
    const [stuffed] = await world.ledger<{ code: string }[]>`
      select l.code from conversions c join links l on l.id = c.link_id where c.order_id = 'stuffed'`;
    expect(stuffed?.code).toBe(codes[1]);
    const explained = await fetch(`${api}/v1/conversions/${blocked?.id}/explanation`, {
      headers: { Authorization: `Bearer ${key}` },
    });
    expect(await explained.text()).toContain(
      `was blocked by one of those in force about then: blk_${made?.id}, network \\"127.0.0.0/8\\" (“the test itself”)`,
    );
    await waitFor(async () => (await cookieOf()) !== null, { deadlineMs: 3_000, what: 'its end' });
  });

  it('reviews what converts too soon, and too often from one address', async () => {
    const changes = { fraudRules: { instant_conversion: 30, high_conversion_rate_from_ip: 1_000 } };
    await updateProgram(world.ledger, { id: world.program.id, changes });
    await order({ order_id: 'instant', amount: '10.00', click_id: await click() });
    expect((await decided(['instant'])).get('instant')).toMatchObject({
      state: 'review',
      reason: 'instant_conversion',
    });
    // Of what came from this address within the hour, ten more may pass.
    const [before] = await world.ledger<{ fromHere: bigint }[]>`
      select count(*) as from_here from conversions where click_ip is not null`;
    const limit = Number(before?.fromHere) + 10;
    await updateProgram(world.ledger, {
      id: world.program.id,
      changes: { fraudRules: { instant_conversion: 0, high_conversion_rate_from_ip: limit } },
    });
    const clickId = await click();
    const many = Array.from({ length: 40 }, (_, i) => `many-${i}`);
    await Promise.all(many.map((orderId) => order({ order_id: orderId, amount: '1.00', click_id: clickId })));
    const states = [...(await decided(many)).values()].map(({ state, reason }) => reason ?? state);
    expect(states.filter((state) => state === 'attributed')).toHaveLength(10);
    expect(states.filter((state) => state === 'high_conversion_rate_from_ip')).toHaveLength(30);
  });

  it('sends spans that lead from an order to its batch, its block and its payout', async () => {
    const [order] = await world.ledger<
      { id: bigint; clickNode: number; clickSeq: bigint; payoutId: bigint }[]
    >`
      select c.id, c.click_node, c.click_seq, i.payout_id from conversions c
      join commissions m on m.conversion_id = c.id and m.level = 1 join payout_items i on i.commission_id = m.id
      where c.order_id = 'order-0'`;
    if (!order) throw new Error('the order was not paid');
    const options = { config, service: 'scheduler', metrics: createMetrics(), log: quietLog };
    const telemetry = await openTelemetry(options);
    const payout = await getPayout(world.ledger, order.payoutId);
    await tracePayouts(telemetry, world.ledger, { payouts: payout ? [payout] : [], tookMs: 1 });
    await telemetry.stop();

    const about = (name: string, key: string, value: string | number) =>
      receiver.spans.filter((span) => span.name === name && span.attributes[`afflux.${key}`] === value);
    const conversion = `cnv_${order.id}`;
    const found = await waitFor(
      () => {
        const [[reported], [decision]] = [
          about('order', 'conversion', conversion),
          about('decision', 'conversion', conversion),
        ];
        const batch = receiver.spans.find(
          ({
            name,
            attributes: { 'afflux.node': node, 'afflux.first_seq': first, 'afflux.clicks': clicks },
          }) =>
            name === 'click batch' &&
            node === order.clickNode &&
            Number(first) <= Number(order.clickSeq) &&
            Number(order.clickSeq) < Number(first) + Number(clicks),
        );
        const loading = receiver.spans.find(({ parentSpanId }) => parentSpanId === batch?.spanId);
        return reported && decision && batch && loading ? { reported, decision, batch, loading } : undefined;
      },
      { deadlineMs: 20_000, what: 'the spans of the order' },
    );
    const { reported, decision, batch, loading } = found;
    expect([batch, loading, reported, decision].map(({ service }) => service)).toEqual([
      'afflux-collector',
      'afflux-loader',
      'afflux-api',
      'afflux-attribution',
    ]);
    expect([decision.traceId, decision.parentSpanId]).toEqual([reported.traceId, reported.spanId]);
    expect(decision.attributes).toMatchObject({ 'afflux.outcome': 'attributed' });
    expect(decision.links).toEqual([batch.traceId]);
    expect(loading.traceId).toBe(batch.traceId);
    const [block] = about('click block', 'block', loading.attributes['afflux.block'] ?? '');
    expect(block?.links).toContain(batch.traceId);
    expect(loading.links).toEqual([block?.traceId]);
    const [paid] = about('payout', 'payout', `pay_${order.payoutId}`);
    expect(paid?.links).toContain(reported.traceId);
    const [request] = receiver.spans.filter(({ traceId }) => reported.links.includes(traceId));
    expect(request).toMatchObject({ name: 'POST /v1/conversions', service: 'afflux-api' });
    expect(request?.attributes).toMatchObject({
      'http.response.status_code': 202,
      'afflux.request_id': reported.attributes['afflux.request_id'],
    });
  });

  it('goes on while the endpoint of its spans hangs', async () => {
    receiver.behave('hang');
    const before = receiver.headers.length;
    const clickIds = await Promise.all(codes.map((code) => click(code)));
    const orderIds = clickIds.map((_, i) => `unseen-${i}`);
    for (const [i, clickId] of clickIds.entries())
      await order({ order_id: orderIds[i] ?? '', amount: '10.00', click_id: clickId });
    expect((await decided(orderIds)).size).toBe(orderIds.length);
    await waitFor(() => receiver.headers.length > before, {
      deadlineMs: 20_000,
      what: 'a request that hangs',
    });
  });

  it('adds up in the end', async () => {
    const nc = await connectNats({ url: world.nats.url, name: 'test' });
    const clicks = await auditWarehouse({ warehouse, nc }).finally(() => nc.close());
    const books = await auditLedger(world.ledger);
    expect([...clicks, ...books].filter((check) => !check.ok)).toEqual([]);
  });
});

function pick<T, K extends keyof T>(from: T, ...keys: K[]): Pick<T, K> {
  return Object.fromEntries(keys.map((name) => [name, from[name]])) as Pick<T, K>;
}
