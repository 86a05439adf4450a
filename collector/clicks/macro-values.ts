import { formatIp } from '../../core/ip.ts';
import type { MacroName } from '../../core/links/macros.ts';
import type { Program } from '../links/link-set.ts';
import { EVERY_PARAMETER, type PassedParameters, passedQuery } from '../request/passed-parameters.ts';
import { readTraffic } from '../request/query.ts';
import { fillRedirectUrl, type RedirectUrl, type UrlPieces } from '../request/redirect-url.ts';
import type { Click } from './click.ts';

/** The value of each macro but the click id, as it is written with the click. */
const VALUES: Readonly<Record<Exclude<MacroName, 'click_id' | 'query'>, (click: Click) => string>> = {
  ts: ({ ts }) => String(ts),
  program_id: ({ link }) => String(link.programId),
  campaign_id: ({ link }) => String(link.campaignId),
  affiliate_id: ({ link }) => String(link.affiliateId),
  link_id: ({ link }) => String(link.linkId),
  ip: ({ ip }) => formatIp(ip),
  device: ({ visitor }) => visitor.device,
  os: ({ visitor }) => visitor.os,
  browser: ({ visitor }) => visitor.browser,
  language: ({ visitor }) => visitor.language,
  user_agent: ({ visitor }) => visitor.userAgent,
  referrer: ({ traffic }) => traffic[0] ?? '',
  sub1: ({ traffic }) => traffic[1] ?? '',
  sub2: ({ traffic }) => traffic[2] ?? '',
  sub3: ({ traffic }) => traffic[3] ?? '',
  sub4: ({ traffic }) => traffic[4] ?? '',
  sub5: ({ traffic }) => traffic[5] ?? '',
  utm_source: ({ traffic }) => traffic[6] ?? '',
  utm_medium: ({ traffic }) => traffic[7] ?? '',
  utm_campaign: ({ traffic }) => traffic[8] ?? '',
  utm_term: ({ traffic }) => traffic[9] ?? '',
  utm_content: ({ traffic }) => traffic[10] ?? '',
};

/** A click's URL with everything in it but the click id; the address is the one that is kept. */
export function fillLocation(url: RedirectUrl, click: Click): UrlPieces {
  const { link, traffic } = click;
  const passed = passedTo(url, traffic, link.passed ?? link.campaign.program.passed);
  return fillRedirectUrl(url, passed, (macro) => VALUES[macro](click));
}

/** The fallback of a request for no link: there is no click, so every macro but `{query}` is empty. */
export function fillFallback(url: RedirectUrl, program: Program, query: string): UrlPieces {
  return fillRedirectUrl(url, passedTo(url, readTraffic('', query), program.passed), () => '');
}

function passedTo(url: RedirectUrl, traffic: readonly string[], named: PassedParameters): string {
  return passedQuery(traffic, url.takesAll ? EVERY_PARAMETER : named, url.taken);
}
