import { type LookupAddress, lookup } from 'node:dns';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { errorText } from '../../core/errors.ts';
import { isMappedIpv4, type NetworkMatcher, parseIp } from '../../core/ip.ts';

/**
 * One HTTP request to a URL that a user has configured. It goes to public addresses only: the name is resolved once,
 * every address is checked, and the connection uses a checked address, so that no name and no second resolution
 * leads to a private network.
 */

export interface WebhookAnswer {
  /** Undefined: there was no answer. */
  readonly status: number | undefined;
  /** What went wrong; undefined for an answer of 2xx. */
  readonly error: string | undefined;
  /** Its beginning. */
  readonly response: string;
  readonly durationMs: number;
}

/** From the first byte to the last: a receiver should answer at once and work afterwards. */
const TIMEOUT_MS = 10_000;
/** Another one may belong to a service that was never meant for HTTP from outside, so only an exception has it. */
const PORTS: ReadonlySet<string> = new Set(['', '80', '443', '8443']);
/** Of names that lead inside and of names that lead nowhere: the difference would tell what exists inside. */
const NOT_PUBLIC = 'the host has no public address';
/** What is kept of an answer; the rest is not read. */
const MAX_RESPONSE_BYTES = 1_000;

/** Whether an address is on the public internet, or in one of the allowed networks. */
export function isCallable(address: string, allowed: NetworkMatcher): boolean {
  const bytes = parseIp(address);
  return bytes !== undefined && (allowed(bytes) || isPublic(bytes));
}

function isPublic(address: Buffer): boolean {
  // ::ffff:10.0.0.1 is 10.0.0.1.
  if (isMappedIpv4(address)) return ipaddr.fromByteArray([...address.subarray(12)]).range() === 'unicast';
  // Only 2000::/3 is assigned (RFC 4291); what lies beside it is unassigned or embeds an IPv4 address.
  return ((address[0] ?? 0) & 0xe0) === 0x20 && ipaddr.fromByteArray([...address]).range() === 'unicast';
}

/** Why a URL cannot be a webhook's, without resolving its name; undefined when it can. */
export function urlFault(text: string, allowed: NetworkMatcher): string | undefined {
  if (!URL.canParse(text)) return 'must be a URL';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must be https';
  if (url.username !== '' || url.password !== '') return 'must not contain a user or a password';
  if (url.hash !== '') return 'must not contain a fragment';
  const address = parseIp(hostOf(url));
  const isListed = address !== undefined && allowed(address);
  if (address && !isListed && !isPublic(address)) return 'must lead to a public address';
  if (url.protocol === 'http:' && !isListed) return 'must be https';
  if (!PORTS.has(url.port) && !isListed) return 'must have port 80, 443 or 8443';
  return undefined;
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

/** Sends a request and waits for the answer; never throws. */
export async function send(
  target: string,
  options: {
    /** Default POST. */
    method?: 'GET' | 'POST';
    body: string;
    headers: Readonly<Record<string, string>>;
    allowed: NetworkMatcher;
    timeoutMs?: number;
    resolve?: typeof lookup;
  },
): Promise<WebhookAnswer> {
  const startedAt = performance.now();
  try {
    const fault = urlFault(target, options.allowed);
    if (fault) throw new Error(`the URL ${fault}`);
    const { status, response } = await exchange(new URL(target), options);
    const error = status >= 200 && status < 300 ? undefined : `answered ${status}`;
    return { status, error, response, durationMs: performance.now() - startedAt };
  } catch (error) {
    const durationMs = performance.now() - startedAt;
    return { status: undefined, error: errorText(error).slice(0, 500), response: '', durationMs };
  }
}

function exchange(
  url: URL,
  {
    method = 'POST',
    body,
    headers,
    allowed,
    timeoutMs = TIMEOUT_MS,
    resolve: resolveName = lookup,
  }: Parameters<typeof send>[1],
): Promise<{ status: number; response: string }> {
  return new Promise((resolve, reject) => {
    const start = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = start(url, {
      method,
      // A connection is not kept: the next delivery resolves and checks the address again.
      agent: false,
      lookup: guardedLookup(allowed, resolveName),
      headers: {
        ...headers,
        ...(method === 'POST' && { 'content-length': String(Buffer.byteLength(body)) }),
      },
    });
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    request.on('error', reject);
    request.on('close', () => clearTimeout(timer));
    request.on('response', (answer) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      const finish = (): void => {
        const text = Buffer.concat(parts).subarray(0, MAX_RESPONSE_BYTES).toString('utf8');
        resolve({ status: answer.statusCode ?? 0, response: text });
        request.destroy();
      };
      answer.on('data', (part: Buffer) => {
        parts.push(part);
        bytes += part.length;
        if (bytes >= MAX_RESPONSE_BYTES) finish();
      });
      answer.on('end', finish).on('error', reject);
    });
    request.end(body);
  });
}

/** Resolves a name and gives only addresses that may be called; one that may not refuses them all. */
function guardedLookup(allowed: NetworkMatcher, resolveName: typeof lookup): LookupFunction {
  return (hostname, options, callback) => {
    resolveName(hostname, { ...options, all: true }, (error, found) => {
      const addresses = (error ? [] : found) as LookupAddress[];
      const [first] = addresses;
      if (error && error.code !== 'ENOTFOUND' && error.code !== 'ENODATA') callback(error, '', 0);
      else if (!first || !addresses.every(({ address }) => isCallable(address, allowed)))
        callback(new Error(NOT_PUBLIC), '', 0);
      else if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
