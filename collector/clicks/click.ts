import type { HttpResponse } from 'uWebSockets.js';
import type { ClickRow } from '../../core/clicks/click-record.ts';
import type { Link } from '../links/link-set.ts';
import type { UrlPieces } from '../request/redirect-url.ts';
import type { Visitor } from '../request/visitors.ts';

/** The properties of a click that its request gives. */
interface ClickRequest {
  readonly link: Link;
  /** Unix milliseconds. */
  readonly ts: number;
  /** 16 bytes, whole. */
  readonly ip: Uint8Array;
  readonly visitor: Visitor;
  /** Referrer, sub1–5, UTM ×5, rest. */
  readonly traffic: readonly string[];
  /** bot, head, prefetch, forced, optedOut. */
  readonly flags: number;
  readonly isHead: boolean;
  /** `X-Request-Id`, which is answered; '' when there is none. */
  readonly requestId: string;
}

const NO_LOCATION: UrlPieces = [];

/**
 * A click, or a load of the impression pixel, from its request to its answer: made when the request has been read,
 * completed by the decision, written by the committer, answered when its batch is durable. It is the one object of its
 * click and never copied, because a copy between two steps costs as much as the step; so it is also a {@link ClickRow}.
 */
export class Click implements ClickRow {
  readonly response: HttpResponse;
  readonly link: Link;
  readonly ts: number;
  readonly visitor: Visitor;
  /** Whole until its redirect is made; cut when it is one of a flood. */
  traffic: readonly string[];
  readonly isHead: boolean;
  readonly requestId: string;
  node = 0;
  seq = 0;
  /** Whole until the decision cuts it to what the program keeps. */
  ip: Uint8Array;
  /** The visitor's columns; shorter, or without the fingerprint, once the decision says so. */
  encodedVisitor: Buffer;
  flags: number;
  rule = 0;
  destination = 0;
  answer: 'redirect' | 'gone' | 'pixel' = 'gone';
  location = NO_LOCATION;
  /** 0: no cookie. */
  cookieDays = 0;
  /** Touching a response whose client has gone would end the process. */
  isAborted = false;

  constructor(response: HttpResponse, request: ClickRequest) {
    this.response = response;
    this.link = request.link;
    this.ts = request.ts;
    this.visitor = request.visitor;
    this.traffic = request.traffic;
    this.isHead = request.isHead;
    this.requestId = request.requestId;
    this.ip = request.ip;
    this.encodedVisitor = request.visitor.encoded;
    this.flags = request.flags;
    response.onAborted(() => {
      this.isAborted = true;
    });
  }
}
