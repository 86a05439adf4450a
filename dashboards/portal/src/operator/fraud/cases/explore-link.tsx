import type { ComponentChildren } from 'preact';
import { Link } from '../../../app/router.tsx';
import type { Subject } from './kinds.ts';

/** A key with its value, as a link to all that is known around it. */
export function ExploreLink({ kind, value, children }: Subject & { children?: ComponentChildren }) {
  return (
    <Link to={`/explorer/${kind}/${encodeURIComponent(value)}`}>{children ?? <code>{value}</code>}</Link>
  );
}
