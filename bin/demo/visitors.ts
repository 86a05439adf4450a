import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type CountryResponse, Reader } from 'mmdb-lib';
import UserAgent from 'user-agents';
import { formatIp } from '../../core/ip.ts';

/** Somebody on the web: the same headers and address at each of their clicks. */
export interface Visitor {
  readonly ip: string;
  readonly userAgent: string;
  readonly acceptLanguage: string;
}

/** How the demo's visitors are spread over countries, in percent. */
const COUNTRY_SHARES: Readonly<Record<string, { share: number; language: string }>> = {
  US: { share: 26, language: 'en-US,en;q=0.9' },
  DE: { share: 18, language: 'de-DE,de;q=0.9,en;q=0.7' },
  GB: { share: 12, language: 'en-GB,en;q=0.9' },
  FR: { share: 10, language: 'fr-FR,fr;q=0.9' },
  BR: { share: 8, language: 'pt-BR,pt;q=0.9' },
  JP: { share: 7, language: 'ja-JP,ja;q=0.9' },
  NL: { share: 6, language: 'nl-NL,nl;q=0.9' },
  ES: { share: 5, language: 'es-ES,es;q=0.9' },
  PL: { share: 4, language: 'pl-PL,pl;q=0.9' },
  IN: { share: 4, language: 'en-IN,hi;q=0.8' },
};

/** A share of visitors that has IPv6. */
const IPV6_PERCENT = 15;
/** Addresses drawn on the way to a rarer country are kept for later, this many for each. */
const POOL_SIZE = 1_000;

/** Draws visitors: real User-Agent headers by their frequency, addresses from the ranges of real countries. */
export function createVisitorSource(): () => Visitor {
  const database = createRequire(import.meta.url).resolve(
    '@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb',
  );
  const countries = new Reader<CountryResponse>(readFileSync(database));
  const userAgents = new UserAgent();
  const drawn = new Map<string, string[]>();

  function drawAddress(country: string): string {
    for (;;) {
      const kept = drawn.get(country)?.pop();
      if (kept !== undefined) return kept;
      const ip = randomInt(100) < IPV6_PERCENT ? randomIpv6() : randomIpv4();
      const found = (countries.get(ip) as { country_code?: string } | null)?.country_code;
      if (found === undefined || !(found in COUNTRY_SHARES)) continue;
      const pool = drawn.get(found) ?? [];
      if (pool.length < POOL_SIZE) pool.push(ip);
      drawn.set(found, pool);
    }
  }

  return () => {
    const country = drawCountry();
    return {
      ip: drawAddress(country),
      userAgent: userAgents.random().toString(),
      acceptLanguage: COUNTRY_SHARES[country]?.language ?? 'en',
    };
  };
}

function drawCountry(): string {
  let draw = randomInt(100);
  for (const [country, { share }] of Object.entries(COUNTRY_SHARES)) {
    draw -= share;
    if (draw < 0) return country;
  }
  return 'US';
}

function randomIpv4(): string {
  return [randomInt(1, 224), randomInt(256), randomInt(256), randomInt(1, 255)].join('.');
}

/** From 2600::/12, 2a00::/12 or 2800::/12, where North America, Europe and South America have theirs. */
function randomIpv6(): string {
  const bytes = randomBytes(16);
  bytes[0] = [0x26, 0x2a, 0x28][randomInt(3)] ?? 0x26;
  bytes[1] = (bytes[1] ?? 0) & 0x0f;
  return formatIp(bytes);
}
