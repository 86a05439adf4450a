/**
 * `Strict-Transport-Security` of a public URL that is https: a browser that was here once asks by https for a year. Other
 * hosts of the domain may be on http, so it speaks for this host alone. Undefined for http, where browsers ignore it.
 */
export function strictTransport(publicUrl: string): string | undefined {
  return publicUrl.startsWith('https:') ? 'max-age=31536000' : undefined;
}
