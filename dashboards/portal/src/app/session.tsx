import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Schemas } from '../data/api.ts';

/** Who is signed in, and which program they look at. */

export interface SignedIn {
  readonly user: Schemas['User'];
  readonly program: Schemas['Program'];
  /** All that they may see. */
  readonly programs: readonly Schemas['Program'][];
  readonly chooseProgram: (id: string) => void;
  readonly signOut: () => void;
  readonly theme: string;
}

type Role = Schemas['User']['role'];

/** Who may list what, so that nobody's page asks for what it would be refused. */
const READERS = {
  affiliates: ['operator', 'finance', 'fraud'],
  links: ['operator', 'finance', 'fraud', 'affiliate'],
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
  if (!session) throw new Error('nobody is signed in');
  return session;
}

/** The affiliate that is signed in. */
export function usePartner(): SignedIn & { affiliateId: string } {
  const session = useSession();
  const affiliateId = session.user.affiliate_id;
  if (affiliateId === null) throw new Error('this page is a partner’s');
  return { ...session, affiliateId };
}
