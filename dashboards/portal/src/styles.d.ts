/** Vite puts them into the built style sheet. */
declare module '*.css';
