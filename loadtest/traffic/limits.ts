/** What is asked for, and what its answers have to keep. */
export const LIMITS = {
  /** The goal under load; past 250 ms the collector gives up waiting for the stream and takes its spool. */
  redirects: { p99Ms: 50, p999Ms: 250 },
  postbacks: { p99Ms: 40, p999Ms: 500 },
  reports: { p99Ms: 100, p999Ms: 1_000 },
  'portal reads': { p99Ms: 60, p999Ms: 500 },
} as const;
export type Kind = keyof typeof LIMITS;

/** Who waits longer has gone. */
export const PATIENCE_MS = 10_000;
/** More open requests than a platform that keeps up ever has; beyond it further ones are not sent, but counted. */
export const MAX_WAITING = 4_096;
