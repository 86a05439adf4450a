/**
 * The role that every process but the migrations logs in as at PostgreSQL: it owns nothing and is a member of no role, so
 * it can neither edit nor empty the books, nor become a role that can.
 */
export const APP_ROLE = 'afflux_app';

/** The URL of the same database with the login of {@link APP_ROLE}. */
export function applicationUrl(url: string, password: string): string {
  const target = new URL(url);
  target.username = APP_ROLE;
  target.password = encodeURIComponent(password);
  return target.href;
}
