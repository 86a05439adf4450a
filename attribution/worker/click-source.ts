import { type ClickIdentity, clickIdentityKey } from '../../core/clicks/click-id.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import {
  type CampaignTraffic,
  readCampaignTraffic,
  type TrafficQuestion,
} from '../../warehouse/lookups/campaign-traffic.ts';
import {
  type ClickContext,
  type ContextQuestion,
  readClickContexts,
} from '../../warehouse/lookups/click-context.ts';
import {
  type CandidateRequest,
  fingerprintCandidates,
  lookupClicks,
} from '../../warehouse/lookups/lookups.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import type { KnownClick } from '../decide/choose.ts';

/** The queries of attribution to the warehouse, each for a whole batch. */
export interface ClickSource {
  /** Unix ms up to which every click is stored. Read it before the others, never after. */
  completeToMs(): Promise<number>;
  /** The stored clicks among these identities, by {@link clickIdentityKey}. */
  lookUp(identities: readonly ClickIdentity[]): Promise<Map<string, KnownClick>>;
  /** For each request, in their sequence, the clicks of the same fingerprint and network. */
  sameVisitor(requests: readonly CandidateRequest[]): Promise<KnownClick[][]>;
  /** The context of each click: earlier clicks, country, network. */
  contexts(questions: readonly ContextQuestion[]): Promise<ClickContext[]>;
  /** The clicks of its affiliate and campaign before each click. */
  traffic(questions: readonly TrafficQuestion[]): Promise<CampaignTraffic[]>;
}

/** Clicks as ClickHouse has them. Before the first watermark they are complete up to 0. */
export function createWarehouseClicks(warehouse: Warehouse): ClickSource {
  return {
    completeToMs: async () => (await readWatermark(warehouse)) ?? 0,
    async lookUp(identities) {
      const clicks = await lookupClicks(warehouse, identities);
      return new Map(clicks.map((click) => [clickIdentityKey(click), click]));
    },
    sameVisitor: (requests) => fingerprintCandidates(warehouse, requests),
    contexts: (questions) => readClickContexts(warehouse, questions),
    traffic: (questions) => readCampaignTraffic(warehouse, questions),
  };
}
