import { ApiKeysPage as Keys } from '../ui/api-keys.tsx';

const ROLES = ['affiliate'] as const;

export function ApiKeysPage() {
  return <Keys roles={ROLES} />;
}
