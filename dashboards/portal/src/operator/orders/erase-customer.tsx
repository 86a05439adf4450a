import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { Button, Problem } from '../../ui/basics.tsx';

/** Removes who the customer of a search was. */
export function EraseCustomer({ customer, onErased }: { customer: string; onErased: () => void }) {
  const { program } = useSession();
  const [erased, setErased] = useState<Schemas['CustomerErasure']>();
  const erase = useAction(async () => {
    setErased(await take(api.POST('/v1/customers/erase', { body: { program_id: program.id, customer } })));
    onErased();
  });
  return (
    <details>
      <summary>Erase this customer</summary>
      <Problem error={erase.error} />
      {erased ? (
        <p class="muted" role="status">
          Erased: orders {erased.conversions}, addresses {erased.addresses}.
        </p>
      ) : (
        <>
          <p class="muted">
            Erasing removes ids, addresses and the evidence of all orders of {customer} for good: an id of the
            shop, an e-mail address, or its hash. Amounts and commissions stay.
          </p>
          <div class="form-end">
            <Button kind="danger" busy={erase.busy} onClick={() => void erase.run()}>
              Erase the customer
            </Button>
          </div>
        </>
      )}
    </details>
  );
}
