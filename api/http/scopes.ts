/** The parts of the API, as the OpenAPI document groups them, and what a key may be narrowed to. */
export const TAGS = [
  'system',
  'session',
  'keys',
  'users',
  'programs',
  'campaigns',
  'affiliates',
  'links',
  'coupons',
  'terms',
  'shops',
  'conversions',
  'money',
  'clicks',
  'reports',
  'webhooks',
  'fraud',
  'audit',
  'imports',
] as const;

/** What a key with scopes may do: read or write in one part of the API. */
export const SCOPES = TAGS.flatMap((tag) => [`${tag}:read`, `${tag}:write`] as const);

export type Scope = (typeof SCOPES)[number];

/** The scope that a route needs, by its first tag and its method. */
export function scopeOf(route: { method: string; tags: readonly string[] | undefined }): string {
  const reads = route.method === 'GET' || route.method === 'HEAD';
  return `${route.tags?.[0] ?? 'system'}:${reads ? 'read' : 'write'}`;
}
