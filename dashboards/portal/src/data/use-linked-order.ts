import { useEffect } from 'preact/hooks';
import { useParameter } from '../app/router.tsx';
import { api, type Schemas, take } from './api.ts';

/** Opens the order that the address names, as the links of mails do; the name leaves the address at once. */
export function useLinkedOrder(open: (conversion: Schemas['ReadConversion']) => void): void {
  const [id, setId] = useParameter('order');
  useEffect(() => {
    if (id === '') return;
    setId('');
    // An order that is not the reader's is not opened; the list stands behind.
    void take(api.GET('/v1/conversions/{id}', { params: { path: { id } } })).then(open, () => undefined);
  }, [id]);
}
