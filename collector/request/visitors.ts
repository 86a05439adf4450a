import Bowser from 'bowser';
import { encodeVisitor } from '../../core/clicks/click-record.ts';
import { fingerprint } from '../../core/clicks/fingerprint.ts';
import { isRobot } from './robots.ts';

/** Longer User-Agent headers are cut: browsers stay far below, and a row must stay small. */
const MAX_USER_AGENT_LENGTH = 1_024;
/** Longest language tag kept ("zh-Hant-TW" has 10 characters). */
const MAX_LANGUAGE_LENGTH = 16;
/**
 * Distinct header pairs kept: parsing a User-Agent costs more than the rest of a click. Two generations of this many
 * bound the memory to some 60 MB and keep what is in use.
 */
const CACHE_GENERATION_SIZE = 50_000;

/** A visitor as described by the headers User-Agent and Accept-Language. A class, so that all have one shape in V8. */
export class Visitor {
  readonly userAgent: string;
  readonly device: string;
  readonly os: string;
  readonly browser: string;
  readonly language: string;
  readonly isBot: boolean;
  /** The bytes of these columns in a row, ready to copy. */
  readonly encoded: Buffer;
  #encodedShort: Buffer | undefined;

  constructor(userAgentHeader: string, acceptLanguage: string) {
    this.userAgent = userAgentHeader.slice(0, MAX_USER_AGENT_LENGTH).toWellFormed();
    this.isBot = isRobot(this.userAgent);
    const parsed = Bowser.parse(this.userAgent === '' ? '-' : this.userAgent);
    this.device = this.isBot ? 'bot' : (parsed.platform.type ?? 'unknown');
    this.os = parsed.os.name ?? '';
    this.browser = parsed.browser.name ?? '';
    this.language = firstLanguage(acceptLanguage);
    this.encoded = this.#encode(fingerprint(userAgentHeader, acceptLanguage), this.userAgent);
  }

  /** {@link Visitor.encoded} with at most so many characters of the User-Agent, always the same number. */
  encodedShort(userAgentLength: number): Buffer {
    this.#encodedShort ??= this.#encode(
      this.encoded.readBigUInt64LE(0),
      this.userAgent.slice(0, userAgentLength).toWellFormed(),
    );
    return this.#encodedShort;
  }

  #encode(fingerprint: bigint, userAgent: string): Buffer {
    const { device, os, browser, language } = this;
    return encodeVisitor({ fingerprint, user_agent: userAgent, device, os, browser, language });
  }
}

/** The visitor that the headers User-Agent and Accept-Language describe. */
export type VisitorOf = (userAgent: string, acceptLanguage: string) => Visitor;

/** {@link VisitorOf} with a bounded cache. */
export function createVisitorCache(): VisitorOf {
  // By User-Agent, then by Accept-Language: joining the two into one key would copy and hash both at every click.
  let young = new Map<string, Map<string, Visitor>>();
  let old = new Map<string, Map<string, Visitor>>();
  let youngSize = 0;
  return (userAgent, acceptLanguage) => {
    const known = young.get(userAgent)?.get(acceptLanguage);
    if (known) return known;
    const visitor = old.get(userAgent)?.get(acceptLanguage) ?? new Visitor(userAgent, acceptLanguage);
    if (youngSize >= CACHE_GENERATION_SIZE) {
      old = young;
      young = new Map();
      youngSize = 0;
    }
    const byLanguage = young.get(userAgent);
    if (byLanguage) byLanguage.set(acceptLanguage, visitor);
    else young.set(userAgent, new Map([[acceptLanguage, visitor]]));
    youngSize++;
    return visitor;
  };
}

function firstLanguage(acceptLanguage: string): string {
  const tag = /^\s*([A-Za-z0-9-]+)/.exec(acceptLanguage)?.[1] ?? '';
  return tag.slice(0, MAX_LANGUAGE_LENGTH);
}
