import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { t } from '../../text/t.ts';
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
      <summary>{t('eraseCustomer.erase_this_customer')}</summary>
      <Problem error={erase.error} />
      {erased ? (
        <p class="muted" role="status">
          {t('eraseCustomer.erased_orders_conversions_addresses_addresses', {
            conversions: erased.conversions,
            addresses: erased.addresses,
          })}
        </p>
      ) : (
        <>
          <p class="muted">{t('eraseCustomer.erasing_removes_ids_addresses_and', { customer })}</p>
          <div class="form-end">
            <Button kind="danger" busy={erase.busy} onClick={() => void erase.run()}>
              {t('eraseCustomer.erase_the_customer')}
            </Button>
          </div>
        </>
      )}
    </details>
  );
}
