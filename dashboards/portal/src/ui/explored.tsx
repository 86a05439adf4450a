import { Link } from '../app/router.tsx';
import { mayRead, useSession } from '../app/session.tsx';
import type { Schemas } from '../data/api.ts';
import { t } from '../text/t.ts';
import { Copy } from './basics.tsx';

/** Addresses, networks, fingerprints and parties as links into the explorer, for those who may follow them. */

export type ExplorerKey = Schemas['RelatedKey']['key'];

export const KEY_NAMES: Readonly<Record<ExplorerKey, string>> = {
  ip: t('common.address'),
  subnet: t('explored.network'),
  asn: t('explored.autonomous_system'),
  fingerprint: t('explored.fingerprint'),
  affiliate: t('common.partner'),
  link: t('common.link'),
  customer: t('common.customer'),
  account: t('explored.payout_account'),
};

/** So much of a number or a hash tells it from others on a page. */
const HEAD_LENGTH = 10;

/** A fingerprint or a hash by its beginning: no one reads all of it. */
export function shortValue(key: ExplorerKey, value: string): string {
  const [, hash] = /^sha256:([0-9a-f]+)$/.exec(value) ?? [];
  const long = key === 'fingerprint' ? value : hash;
  return long === undefined ? value : `${long.slice(0, HEAD_LENGTH)}…`;
}

/** An id of a customer that may be an e-mail address is in no URL: an order stands for it. */
export function customerValue(conversionId: string, customerId: string): string {
  return customerId.includes('@') ? conversionId : customerId;
}

export function explorerPath(key: ExplorerKey, value: string): string {
  return `/explorer/${key}/${encodeURIComponent(value)}`;
}

/** A value that leads on, by its name where it has one; what is shortened can be copied whole. */
export function Explored({
  of,
  value,
  name,
}: {
  of: ExplorerKey;
  value: string;
  name?: string | null | undefined;
}) {
  const { user } = useSession();
  const short = shortValue(of, value);
  const text = name ? name : <code>{short}</code>;
  return (
    <span class="explored">
      {mayRead('evidence', user.role) ? <Link to={explorerPath(of, value)}>{text}</Link> : text}
      {!name && short !== value && <Copy text={value} label={KEY_NAMES[of]} />}
    </span>
  );
}
