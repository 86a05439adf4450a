import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** A redirect that a visitor received. */
export interface ReceivedClick {
  /** The number of its request, which it carries as `sub1`. */
  readonly request: number;
  readonly clickId: string;
  readonly affiliateId: number;
  /** Of a link whose terms are a plain percentage. */
  readonly isPercent: boolean;
}

/** A visit that ended without a redirect. */
export interface Unanswered {
  /** When the visitor clicked, and when it was over, Unix milliseconds. */
  readonly dueMs: number;
  readonly endMs: number;
  readonly how: '503' | 'connection refused' | 'connection reset' | 'time-out' | 'not sent';
}

/** An order as the shop knows it. */
export interface ShopOrder {
  readonly orderId: string;
  readonly amountMinor: number;
  readonly click: ReceivedClick | undefined;
  /** Set once the API has accepted it. */
  conversionId: string | undefined;
  /** Of the refund that the API has accepted. */
  refundedMinor: number;
}

/** What the clients received: in memory for the comparison, and appended to files that are never rewritten. */
export interface ClientRecord {
  readonly clicks: ReceivedClick[];
  readonly unanswered: Unanswered[];
  /** Milliseconds from each received redirect's click to its arrival. */
  readonly waitsMs: number[];
  readonly orders: ShopOrder[];
  /** Clicks of visitors, redirected or not. */
  requests: number;
  /** Answers that no fault explains, such as a refusal of an order that is right. */
  readonly strange: string[];
  noteClick(click: ReceivedClick, waitMs: number): void;
  noteUnanswered(visit: Unanswered & { request: number }): void;
  noteOrder(line: object): void;
  close(): void;
}

export function createClientRecord(folder: string): ClientRecord {
  const clickFile = openSync(join(folder, 'clicks.log'), 'ax');
  const unansweredFile = openSync(join(folder, 'unanswered.log'), 'ax');
  const orderFile = openSync(join(folder, 'orders.log'), 'ax');
  const record: ClientRecord = {
    clicks: [],
    unanswered: [],
    waitsMs: [],
    orders: [],
    requests: 0,
    strange: [],
    noteClick(click, waitMs) {
      writeSync(clickFile, `${Date.now()} ${click.request} ${click.clickId}\n`);
      record.clicks.push(click);
      record.waitsMs.push(waitMs);
    },
    noteUnanswered(visit) {
      writeSync(unansweredFile, `${JSON.stringify(visit)}\n`);
      record.unanswered.push(visit);
    },
    noteOrder(line) {
      writeSync(orderFile, `${JSON.stringify({ at: Date.now(), ...line })}\n`);
    },
    close() {
      closeSync(clickFile);
      closeSync(unansweredFile);
      closeSync(orderFile);
    },
  };
  return record;
}
