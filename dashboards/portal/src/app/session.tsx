import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Schemas } from '../data/api.ts';

/** The signed-in user and the selected program. */

export interface SignedIn {
  readonly user: Schemas['User'];
  readonly program: Schemas['Program'];
  /** Programs visible to the user. */
  readonly programs: readonly Schemas['Program'][];
  readonly chooseProgram: (id: string) => void;
  readonly secondFactor: Schemas['Session']['second_factor'];
  /** Reads the session and the programs again. */
  readonly reload: () => void;
  readonly signOut: () => void;
  readonly theme: string;
}

type Role = Schemas['User']['role'];

/** Roles that can list each resource, so that pages request nothing forbidden. */
const READERS = {
  affiliates: ['operator', 'finance', 'fraud'],
  links: ['operator', 'finance', 'fraud', 'affiliate'],
  users: ['operator'],
  keys: ['operator'],
  payouts: ['operator', 'finance', 'affiliate'],
  evidence: ['operator', 'fraud'],
} as const satisfies Readonly<Record<string, readonly Role[]>>;

export function mayRead(what: keyof typeof READERS, role: Role): boolean {
  return (READERS[what] as readonly Role[]).includes(role);
}

const Context = createContext<SignedIn | undefined>(undefined);

export const SessionProvider = Context.Provider;

export function useSession(): SignedIn {
  const session = useContext(Context);
  if (!session) throw new Error('no session');
  return session;
}

/** The affiliate that is signed in. */
export function usePartner(): SignedIn & { affiliateId: string } {
  const session = useSession();
  const affiliateId = session.user.affiliate_id;
  if (affiliateId === null) throw new Error('this page is for partners only');
  return { ...session, affiliateId };
}
