import { ApiKeysPage as Keys } from '../../ui/api-keys.tsx';

const ROLES = ['advertiser', 'operator', 'finance', 'fraud'] as const;

export function ApiKeysPage() {
  return <Keys roles={ROLES} />;
}
