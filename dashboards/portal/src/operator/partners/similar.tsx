import type { Schemas } from '../../data/api.ts';

const BY = { mailbox: 'the same mailbox', payout_account: 'the same payout account' } as const;

/** Other partners that may be the same person. */
export function Similar({ affiliates }: { affiliates: Schemas['ApplicationDetails']['similar'] }) {
  if (affiliates.length === 0) return null;
  return (
    <div class="notice warn">
      <div>
        <strong>Perhaps the same person: </strong>
        <ul class="sentences">
          {affiliates.map(({ affiliate_id, name, status, same }) => (
            <li key={affiliate_id}>
              {name} ({affiliate_id}, {status}) by {same.map((by) => BY[by]).join(' and ')}
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}
