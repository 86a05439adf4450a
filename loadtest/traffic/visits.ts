import { draw } from './draw.ts';
import type { Answer, TrafficRequest } from './http.ts';

/** A link of the demo program and who earns by it. */
export interface TrafficLink {
  readonly code: string;
  readonly affiliate_id: number;
}

/** A visitor follows a link. */
export interface Visit {
  readonly request: TrafficRequest;
  /** What the landing page's address has to begin with. */
  readonly landing: string;
}

const LANGUAGES = [
  'en-US,en;q=0.9',
  'de-DE,de;q=0.9,en;q=0.7',
  'fr-FR,fr;q=0.9',
  'ja-JP,ja;q=0.9',
  'pt-BR,pt;q=0.9',
];
const PLACEMENTS = 97;
const ADS = 1_009;
const LINK_DRAW = 1;
const AGENT_DRAW = 2;
const CLICK_ID = /^[\w-]{22}$/;

/** Headers of a browser that opens a page. */
export function browserHeaders(n: number, userAgent: string): Record<string, string> {
  return {
    Host: 'go.shop.example',
    Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
    'Accept-Encoding': 'gzip, deflate, br, zstd',
    'Accept-Language': LANGUAGES[n % LANGUAGES.length] ?? '',
    'User-Agent': userAgent,
    Referer: 'https://blog.example/best-of-summer',
    'Sec-Fetch-Dest': 'document',
    'Sec-Fetch-Mode': 'navigate',
    'Upgrade-Insecure-Requests': '1',
  };
}

/** The address of a link as a partner places it. */
export function clickPath(code: string, n: number): string {
  return `/c/${code}?sub1=placement-${n % PLACEMENTS}&sub2=ad-${n % ADS}&utm_source=news&utm_campaign=summer`;
}

/** The n-th visitor of a run: `sub3` names the run, so that its clicks are known among others'. */
export function visit(options: {
  seed: number;
  run: string;
  links: readonly TrafficLink[];
  n: number;
}): Visit {
  const { seed, run, links, n } = options;
  const link = links[draw(seed, LINK_DRAW, n, links.length)];
  if (!link) throw new Error('links must not be empty');
  return {
    landing: `https://shop.example/${link.code.slice(link.code.indexOf('-') + 1)}?partner=${link.affiliate_id}&sub=placement-`,
    request: {
      service: 'collector',
      method: 'GET',
      path: `${clickPath(link.code, n)}&sub3=${run}`,
      headers: { ...browserHeaders(n, userAgent(seed, n)), 'X-Forwarded-For': addressOf(n) },
    },
  };
}

/** The click id of the landing page's address. */
export function clickIdOf(answer: Answer): string {
  const { location = '' } = answer.headers;
  return location.slice(location.lastIndexOf('=') + 1);
}

/** What is wrong with the answer to a visit, in words. */
export function wrongRedirect({ landing, request }: Visit, answer: Answer): string | undefined {
  const { location = '' } = answer.headers;
  const isRight =
    answer.status === 302 &&
    location.slice(0, landing.length) === landing &&
    CLICK_ID.test(clickIdOf(answer));
  return isRight ? undefined : `${request.path} was answered ${answer.status}, location "${location}"`;
}

/** Of 10.0.0.0/8, which belongs to no country and no hoster; after 16.6 million visitors they come again. */
function addressOf(n: number): string {
  return `10.${n & 255}.${(n >> 8) & 255}.${1 + ((n >> 16) % 254)}`;
}

const CHROME_VERSIONS = 40;
const SAFARI_VERSIONS = 8;
const DESKTOPS = ['Windows NT 10.0; Win64; x64', 'Macintosh; Intel Mac OS X 10_15_7', 'X11; Linux x86_64'];
const PHONES = ['Pixel 8', 'SM-S921B', 'SM-A546B', '23049PCD8G'];
const ANDROID_VERSIONS = 6;

/** A User-Agent header of a common form, of some 1,300: a quarter each on iPhones and Android, half on desktops. */
function userAgent(seed: number, n: number): string {
  const drawn = (what: number, below: number): number => draw(seed, AGENT_DRAW + what, n, below);
  const kind = drawn(0, 4);
  if (kind === 0) {
    const [major, minor] = [15 + drawn(1, SAFARI_VERSIONS), drawn(2, 6)];
    return `Mozilla/5.0 (iPhone; CPU iPhone OS ${major}_${minor} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/${major}.${minor} Mobile/15E148 Safari/604.1`;
  }
  const chrome = `Chrome/${100 + drawn(1, CHROME_VERSIONS)}.0.0.0`;
  const engine = 'AppleWebKit/537.36 (KHTML, like Gecko)';
  if (kind === 1) {
    const phone = `Linux; Android ${10 + drawn(2, ANDROID_VERSIONS)}; ${PHONES[drawn(3, PHONES.length)]}`;
    return `Mozilla/5.0 (${phone}) ${engine} ${chrome} Mobile Safari/537.36`;
  }
  const edge = drawn(2, 8) === 0 ? ` ${chrome.replace('Chrome', 'Edg')}` : '';
  return `Mozilla/5.0 (${DESKTOPS[drawn(3, DESKTOPS.length)]}) ${engine} ${chrome} Safari/537.36${edge}`;
}
